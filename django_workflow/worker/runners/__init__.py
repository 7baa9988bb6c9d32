"""Where handlers run: threads, an event loop, child processes, executors of the site."""
