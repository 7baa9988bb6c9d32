"""Small flows, one idea each; `manage.py run_example NAME` runs one of them."""

EXAMPLES = {
    "simple": "three steps in a row",
    "parallel": "branches side by side, a map step, and a step that joins them",
    "dynamic": "a flow built from data at run time",
    "pausing": "a long audit on a worker, paused in the middle and resumed",
    "errors": "retries, giving up, skipping, timeouts",
    "notifications": "messages to whoever listens, and following what happens",
}

#: These start a worker of their own; the others run in the calling process.
ON_A_WORKER = {"pausing"}
