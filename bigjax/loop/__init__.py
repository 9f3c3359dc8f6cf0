"""The training loop, what it starts from, and what it does each step."""
