"""Owns the one table of tasks: name in the config to module."""

from bigjax.tasks import image_classification, token_tagging

TASKS = {"image_classification": image_classification, "token_tagging": token_tagging}
