"""Masked-language modelling: a text encoder that learns from plain text to say what was hidden."""
