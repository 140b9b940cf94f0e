"""Uploads: from a request to a report on the disk."""
