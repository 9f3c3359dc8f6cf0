"""A trained model in use: loading it, answering, and answers for whole files."""
