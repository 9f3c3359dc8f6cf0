"""Saving, verifying and restoring a train state."""
