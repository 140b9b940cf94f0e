"""Data sets: readers, bundled subsets, splits and periods."""
