"""One of the two aggregators that sum reports without reading any of them."""
