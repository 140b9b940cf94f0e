"""One half of the pair that sums contributions without seeing any of them."""
