"""Developer tools for frequency caps: lint, simulation, command line."""
