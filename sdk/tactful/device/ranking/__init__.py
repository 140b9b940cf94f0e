"""Ranking: candidates, scores, balance, diversity, placement rules and reasons."""
