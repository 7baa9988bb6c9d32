"""The demonstration: `python -m example_project.demo`, or `python3 run.py demo`."""
