"""Simulations and studies of Tactful on real data sets."""
