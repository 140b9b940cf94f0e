"""Candidates of a list and the places reserved for some of them."""
