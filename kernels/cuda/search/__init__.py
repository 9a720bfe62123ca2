"""Greedy and beam search, and the best words of rows of logits."""
