"""What only the device may know: events, profile, caps, ranking, and the two doors."""
