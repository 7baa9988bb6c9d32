"""All that is read of one run."""
