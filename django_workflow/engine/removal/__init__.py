"""Removing what is old, unused, or must not be kept."""
