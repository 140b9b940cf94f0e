"""How a sum is taken without seeing its parts."""
