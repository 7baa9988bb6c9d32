"""The dispatcher's loop, and what a worker holds between a claim and its settle."""
