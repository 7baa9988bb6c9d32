"""What becomes due by itself, one file per duty of the keeper; each call does a bounded amount of work."""
