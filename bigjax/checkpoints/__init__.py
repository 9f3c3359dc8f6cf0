"""Saving, verifying and restoring a train state, and what a run starts from."""
