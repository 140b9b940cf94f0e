"""Many devices on one machine: real data, evaluation, comparison."""
