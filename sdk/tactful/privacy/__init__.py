"""Differential privacy of released sums: mechanisms, noise, accounting and budgets."""
