"""Reading Orquesta documents, their expressions, and the flows they make."""
