"""The demo: a complete training on real data, and its report."""
