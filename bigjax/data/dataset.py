"""Owns what a batch and a data set are: rows by number, whatever is in them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

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
