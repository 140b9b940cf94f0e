"""Counters of frequency caps: a projection of the vault's records."""
