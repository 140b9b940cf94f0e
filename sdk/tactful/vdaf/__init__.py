"""Verifiable distributed aggregation: sums of values that nobody sees."""
