"""What the database holds of definitions and runs, as decisions need it."""
