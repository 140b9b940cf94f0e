"""Selection from scored items: diversity, quotas, placement rules, near-duplicates."""
