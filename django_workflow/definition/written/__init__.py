"""What an author of a flow writes: options of steps, transitions, times."""
