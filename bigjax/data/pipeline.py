"""Owns batches by number, and the thread that prepares them ahead of the loop.

What a row holds belongs to the task; where rows go belongs to `sharding.py`.
"""

import concurrent.futures
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bigjax.data.dataset import Batch, Dataset, keep_rows


def global_batch(dataset: Dataset, *, step: int, rows: np.ndarray) -> Batch:
    """The given rows (n,) of global batch `step`; rows past `batch_rows` are rows of zeros.

    A mesh that does not divide the batch pads it with such rows, so the batch itself is the same on
    any number of devices. `row` is added: each row's number in the batch, from which dropout and
    augmentation take their random bits.
    """
    exists = rows < dataset.batch_rows
    batch = dataset.rows(step * dataset.batch_rows + np.where(exists, rows, 0))
    if not exists.all():
        batch = {name: keep_rows(x, exists) for name, x in batch.items()}
    return batch | {"row": rows.astype(np.int32)}


class Prefetch:
    """Calls `make(item)` for each of `items` in a thread, a few items ahead.

    Order and content do not depend on timing. `waited` is the seconds spent waiting for input.
    """

    def __init__(self, make: Callable[[Any], Any], items: Iterable[Any], *, depth: int = 3):
        self._make, self._items = make, iter(items)
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="input")
        self._depth = depth
        self._pending: list[concurrent.futures.Future[Any]] = []
        self.waited = 0.0

    def __iter__(self) -> Iterator[Any]:
        try:
            while True:
                for item in itertools.islice(self._items, self._depth - len(self._pending)):
                    self._pending.append(self._pool.submit(self._make, item))
                if not self._pending:
                    return
                begin = time.perf_counter()
                made = self._pending.pop(0).result()
                self.waited += time.perf_counter() - begin
                yield made
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
