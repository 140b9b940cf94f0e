"""The publication log: a Merkle tree and its signed heads."""
