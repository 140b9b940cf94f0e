"""The person's page: what this device knows of them and why, and every switch."""
