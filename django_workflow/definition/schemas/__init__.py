"""JSON Schemas of inputs, checked with bounded work."""
