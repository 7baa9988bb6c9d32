"""The board, and the pages of workers and queues."""
