"""Uploads of reports: parsing, checks, group commits and storage of bodies."""
