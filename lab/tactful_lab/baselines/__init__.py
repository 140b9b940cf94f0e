"""Baseline recommenders: popularity, EASE, iALS and private ones with central noise."""
