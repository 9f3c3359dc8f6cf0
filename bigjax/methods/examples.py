"""Owns examples one by one, for methods that tell them apart: which row holds which, and what keeps
a model from being a function of single rows."""

import jax
import numpy as np

from bigjax.data.dataset import Dataset
from bigjax.errors import UserError
from bigjax.tasks.task import Task


def one_a_row(train: Dataset, *, epoch: int, why: str) -> np.ndarray:
    """The example of each row of an epoch, int64 (num_rows,).

    Args:
      why: the reason to ask for it, for people.
    Raises:
      UserError: a row has several examples, or none.
    """
    found = train.examples(epoch * train.num_rows + np.arange(train.num_rows))
    if any(len(ids) != 1 for ids in found):
        raise UserError(
            f"{why}, and a row of train holds several; give each rows of its own: "
            "--config.text.packed=False"
        )
    return np.concatenate(found)


def refuse_state(task: Task, *, why: str) -> None:
    """Raises UserError where the model keeps something of whole batches."""
    state = set(jax.eval_shape(task.model.init, jax.random.key(0))) - {"params"}
    if state:
        raise UserError(
            f"{why}, and this model keeps {min(state)} of whole batches; choose a network without "
            "batch normalisation"
        )
