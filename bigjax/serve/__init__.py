"""A trained model as an HTTP service: requests, what is computed together, what is counted."""
