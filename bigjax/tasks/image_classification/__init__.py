"""Image classification: one class for every image."""
