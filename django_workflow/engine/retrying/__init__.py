"""Retrying a settled run by a new one that takes over what succeeded."""
