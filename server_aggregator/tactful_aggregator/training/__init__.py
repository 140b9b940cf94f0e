"""Trainings and experiments at the leader, and the helper's countersignatures."""
