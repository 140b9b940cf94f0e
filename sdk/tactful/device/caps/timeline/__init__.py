"""Canonical time and civil time for frequency caps."""
