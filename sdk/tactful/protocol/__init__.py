"""What device and aggregators agree on: tasks, messages, seals, models."""
