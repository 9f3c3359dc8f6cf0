"""Mergeable sums, and the scores that are made of them."""
