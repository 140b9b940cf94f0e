"""What to show next: candidates, scores, balance, diversity, caps and reasons."""
