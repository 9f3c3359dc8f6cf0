"""Owns the one table of tasks: name in the config to module."""

from bigjax.tasks import token_tagging

TASKS = {"token_tagging": token_tagging}
