"""Everything on the device that can send data, and the ledger that limits it."""
