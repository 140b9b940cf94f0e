"""How much a released sum may reveal: mechanism, noise, accounting, budget."""
