"""A task at a worker: claimed, held by a lease, ended with an outcome."""
