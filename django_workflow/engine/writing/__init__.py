"""Writing what was decided: step runs, tasks, events, ends of runs."""
