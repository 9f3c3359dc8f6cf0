"""Token tagging (NER, POS): a tag for every word."""
