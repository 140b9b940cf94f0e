"""Learning from noisy sums, and the contribution of a device to them."""
