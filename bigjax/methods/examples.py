"""Owns examples one by one, for methods that tell them apart: which row holds which, and what keeps
a model from being a function of single rows."""

from collections.abc import Callable

import jax
import numpy as np

from bigjax.data.dataset import Batch, Dataset, keep_rows
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


def by_step(train: Dataset, chosen: Callable[[int], np.ndarray], *, batch_rows: int) -> Dataset:
    """A data set whose batch `step` is the rows of `train` whose numbers `chosen(step)` gives, at
    most `batch_rows`; those that are -1, and those past them, are empty. A pure function of the
    step where `chosen` is."""

    def found(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `train`, and which of them exist."""
        steps, places = np.divmod(numbers, batch_rows)
        rows = np.full(len(numbers), -1)
        for step in np.unique(steps).tolist():
            of_step = chosen(step)
            here = np.flatnonzero((steps == step) & (places < len(of_step)))
            rows[here] = of_step[places[here]]
        return np.maximum(rows, 0), rows >= 0

    def make_rows(numbers: np.ndarray) -> Batch:
        rows, exists = found(numbers)
        return {name: keep_rows(x, exists) for name, x in train.rows(rows).items()}

    def ids_of(numbers: np.ndarray) -> list[np.ndarray]:
        rows, exists = found(numbers)
        ids = train.examples(rows)
        return [np.asarray(one)[: int(there)] for one, there in zip(ids, exists)]

    return train._replace(rows=make_rows, examples=ids_of, batch_rows=batch_rows)


def refuse_state(task: Task, *, why: str) -> None:
    """Raises UserError where the model keeps something of whole batches."""
    state = set(jax.eval_shape(task.model.init, jax.random.key(0))) - {"params"}
    if state:
        raise UserError(
            f"{why}, and this model keeps {min(state)} of whole batches; choose a network without "
            "batch normalisation"
        )
