"""Labelled images: formats, decoding, augmentation."""
