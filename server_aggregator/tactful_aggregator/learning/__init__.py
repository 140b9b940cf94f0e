"""The aggregators' part of learning: from noisy sums to a model."""
