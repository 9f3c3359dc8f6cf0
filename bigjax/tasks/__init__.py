"""Owns the one table of tasks: name in the config to module."""

from bigjax.tasks.image_classification import task as image_classification
from bigjax.tasks.masked_lm import task as masked_lm
from bigjax.tasks.table import task as table
from bigjax.tasks.text_classification import task as text_classification
from bigjax.tasks.token_tagging import task as token_tagging

TASKS = {
    "image_classification": image_classification,
    "masked_lm": masked_lm,
    "table": table,
    "text_classification": text_classification,
    "token_tagging": token_tagging,
}
