"""The training loop, and what it does each step."""
