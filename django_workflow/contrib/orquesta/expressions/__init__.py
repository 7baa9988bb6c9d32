"""Expressions of Orquesta documents: YAQL and Jinja, with bounded work."""
