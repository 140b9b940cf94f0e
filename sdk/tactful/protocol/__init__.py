"""The protocol between devices and aggregators: tasks, messages, encryption, models."""
