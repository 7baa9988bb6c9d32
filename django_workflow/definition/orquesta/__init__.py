"""Orquesta documents: reading them, their expressions, and their compiled form."""
