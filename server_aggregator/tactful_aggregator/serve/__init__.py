"""The server process: its public and operator listeners, and the limits of connections."""
