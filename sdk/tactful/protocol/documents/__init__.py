"""Signed documents that devices, aggregators and auditors exchange."""
