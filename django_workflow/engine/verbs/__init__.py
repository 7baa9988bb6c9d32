"""What operators and callers do with runs: start, cancel, pause, skip and complete steps."""
