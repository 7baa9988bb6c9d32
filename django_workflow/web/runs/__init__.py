"""The page that lists runs, and how it finds and counts them."""
