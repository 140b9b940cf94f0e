"""Audit of a privacy claim from published evidence alone."""
