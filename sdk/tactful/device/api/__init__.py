"""The parts of the public API that `Personalizer` hands out as attributes."""
