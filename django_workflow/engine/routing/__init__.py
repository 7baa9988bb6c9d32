"""What follows from what ended: decisions, pure Python without a database."""
