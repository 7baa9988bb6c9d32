"""The example as a site to look at: `python -m example_project.serve`, or `python3 run.py serve`."""
