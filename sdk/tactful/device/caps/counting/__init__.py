"""What frequency caps count: a projection of the vault's records."""
