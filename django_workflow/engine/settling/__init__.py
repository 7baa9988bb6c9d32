"""Settling outcomes: each ends its attempt, and what follows becomes true with it."""
