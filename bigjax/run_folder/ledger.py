"""Owns `batches.jsonl`: for each step of training a hash of which examples its batch held, so that
anyone can see that a resumed run saw what an uninterrupted one would have seen."""

import hashlib
import json

import numpy as np

from bigjax.data.dataset import Dataset
from bigjax.run_folder.writers import go_on_with


class Ledger:
    """One object a line: `step`, `examples` (how many), `sha256` of their ids, row by row."""

    def __init__(self, path: str, dataset: Dataset, *, resume_at: int):
        """Goes on with the file at `path`: lines of step `resume_at` and later are those of a run
        that is about to be repeated."""
        self._file, _ = go_on_with(path, step=resume_at - 1)
        self._dataset = dataset

    def add(self, steps: range) -> None:
        size = self._dataset.batch_rows
        for step in steps:
            rows = self._dataset.examples(step * size + np.arange(size))
            digest = hashlib.sha256()
            for ids in rows:
                digest.update(len(ids).to_bytes(8, "little") + ids.astype("<i8").tobytes())
            line = {"step": step, "examples": sum(map(len, rows)), "sha256": digest.hexdigest()}
            self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
