"""Simulated devices, in one process or on a cluster."""
