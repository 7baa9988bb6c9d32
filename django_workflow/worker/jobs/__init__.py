"""One claimed task in a worker: its arguments, its context, the call of its handler."""
