"""Decisions of frequency caps: grants, denials and their explanations."""
