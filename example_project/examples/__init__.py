"""Small flows, one idea each; `manage.py run_example NAME` runs one of them here and now."""

EXAMPLES = {
    "simple": "three steps in a row",
    "parallel": "branches side by side, a map step, and a step that joins them",
    "dynamic": "a flow built from data at run time",
    "errors": "retries, giving up, skipping, timeouts",
}
