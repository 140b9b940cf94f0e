"""Studies: one module for each command that measures something."""
