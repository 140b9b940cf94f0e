"""State projected from the vault."""
