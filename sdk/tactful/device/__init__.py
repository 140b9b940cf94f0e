"""Code that handles private data: events, profile, caps, ranking, and the network."""
