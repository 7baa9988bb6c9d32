"""All problems of a definition, each with its place."""
