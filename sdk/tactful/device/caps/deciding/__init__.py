"""Decisions of frequency caps: what may be shown, and why not."""
