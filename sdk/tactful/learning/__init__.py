"""What is learned from noisy sums, and what a device adds to them."""
