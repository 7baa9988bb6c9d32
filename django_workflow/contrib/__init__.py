"""Optional parts that the core never imports."""
