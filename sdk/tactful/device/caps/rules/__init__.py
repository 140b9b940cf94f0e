"""Frequency cap rules: values, parser, and the subjects they count."""
