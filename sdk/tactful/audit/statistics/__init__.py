"""Statistical tests, and lower bounds on epsilon."""
