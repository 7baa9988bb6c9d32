"""What handlers and the worker log: captured, and written by threads of their own."""
