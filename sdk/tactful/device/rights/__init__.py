"""The person's rights: controls, erasure, export and reports."""
