"""Checks of an audit, one module for each group A to I."""
