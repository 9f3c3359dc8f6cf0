"""Owns what a batch and a data set are: rows by number, whatever is in them; and the data sets that
hold one example a row."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bigjax.config import sections
from bigjax.errors import UserError

Batch = dict[str, np.ndarray]


class Dataset(NamedTuple):
    """A split as rows by number. Row `step * batch_rows + i` is row i of global batch `step`.

    rows: a pure function from row numbers (n,) to a batch of n rows. Every array has n rows, `mask`
      says what counts, and a row of zeros is a row that does not exist: it counts nowhere.
    examples: row numbers (n,) -> for each row the ids of its examples in the split, int64 arrays;
      for the record of which batch held what.
    batch_rows: rows in a global batch, whatever the number of devices.
    num_rows: rows in one epoch. A training set goes on after them with the next epoch; an
      evaluation set gives rows of zeros.
    num_examples: sentences or images in one epoch.
    fill: the share of a row that is not padding.
    fingerprint: sha256 (hex) of the content.
    """

    rows: Callable[[np.ndarray], Batch]
    examples: Callable[[np.ndarray], Sequence[np.ndarray]]
    batch_rows: int
    num_rows: int
    num_examples: int
    fill: float
    fingerprint: str

    @property
    def steps_per_epoch(self) -> float:
        return self.num_rows / self.batch_rows


def by_index(
    rows: Callable[[np.ndarray], Batch],
    *,
    order: Callable[[np.ndarray], np.ndarray],
    num_examples: int,
    batch_rows: int,
    fingerprint: str,
) -> Dataset:
    """A data set with one example a row.

    Args:
      order: row numbers (n,) -> the ids (n,) of the examples that they hold, such as
        `shuffling.shuffled`.
    """
    return Dataset(
        rows=rows,
        examples=lambda numbers: order(numbers)[:, None],
        batch_rows=batch_rows,
        num_rows=num_examples,
        num_examples=num_examples,
        fill=1.0,
        fingerprint=fingerprint,
    )


def each_once(
    examples: Callable[[np.ndarray], Batch], *, num_examples: int, batch_rows: int, fingerprint: str
) -> Dataset:
    """Every example once, in order, one a row, for evaluation.

    Args:
      examples: ids (n,) -> a batch of these; `mask` (bool) is added.
    """

    def rows(numbers: np.ndarray) -> Batch:
        exists = numbers < num_examples
        found = examples(np.where(exists, numbers, 0))
        if not exists.all():
            found = {name: keep_rows(x, exists) for name, x in found.items()}
        return found | {"mask": exists}

    return by_index(
        rows,
        order=lambda numbers: numbers,
        num_examples=num_examples,
        batch_rows=batch_rows,
        fingerprint=fingerprint,
    )


def keep_rows(array: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """`array` (n, ...) with zeros in the rows that do not exist, bool (n,)."""
    shape = (-1,) + (1,) * (array.ndim - 1)
    return np.where(exists.reshape(shape), array, np.zeros((), array.dtype))


def rows_a_batch(
    batch: sections.Batch, *, num_examples: int, num_rows: int, row_length: int | None = None
) -> int:
    """Rows of a global batch, as the section `batch` asks for them: `rows`; or the rows that hold
    about `examples` examples of this data set; or at most `tokens` tokens. There are never more
    than the data set has, and the number of devices has no part in it.

    Args:
      num_examples: what `examples` counts; of text, windows, as one sentence may be a whole book.
      row_length: tokens of a row; None where rows do not hold tokens.
    Raises:
      UserError: none of the three given, or several, or not positive.
    """
    asked = {"examples": batch.examples, "rows": batch.rows, "tokens": batch.tokens}
    given = {unit: value for unit, value in asked.items() if value is not None}
    if len(given) != 1 or min(given.values()) < 1:
        shown = " and ".join(f"batch.{unit}={value}" for unit, value in asked.items())
        raise UserError(f"{shown}: give exactly one of them, 1 or more")
    ((unit, value),) = given.items()
    if unit == "tokens" and row_length is None:
        raise UserError(f"batch.tokens={value}: this task has no tokens; give batch.examples")
    rows = {
        "rows": lambda: value,
        "examples": lambda: round(value * num_rows / num_examples),
        "tokens": lambda: value // row_length,
    }[unit]()
    return min(num_rows, max(1, rows))
