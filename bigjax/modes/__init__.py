"""What `--mode` can be: one file for each, readable as the recipe of what it does."""
