"""Documents with what they must come to, each run here and by worker processes."""
