"""Evidence bundles for an audit, and the staging pair that produces them."""
