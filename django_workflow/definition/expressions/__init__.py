"""The expressions of definitions: languages, this package's own, and its functions."""
