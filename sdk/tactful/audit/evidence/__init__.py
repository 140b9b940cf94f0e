"""Evidence as the checks read it."""
