"""The device's part of learning: what it contributes."""
