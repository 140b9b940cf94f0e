"""The parts of the public API that are attributes of `Personalizer`."""
