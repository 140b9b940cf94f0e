"""How anyone can check the guarantee, from evidence alone."""
