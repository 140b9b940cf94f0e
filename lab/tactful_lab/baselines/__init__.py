"""Recommenders to compare with: popularity, EASE, iALS and private ones with central noise."""
