"""Scores of items: standard, personal, and their adjustments."""
