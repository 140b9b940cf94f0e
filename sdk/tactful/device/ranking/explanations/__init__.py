"""Reasons, interests and traces of lists."""
