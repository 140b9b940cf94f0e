"""Evidence of an audit, parsed for the checks."""
