"""The record of which batch held which examples: what its lines say, and that a resumed run's is
that of a run that was not stopped."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bigjax.data.dataset import Dataset
from bigjax.run_folder.ledger import Ledger

ROWS = 3  # in a batch


def dataset(examples) -> Dataset:
    """As much of a data set as the ledger looks at."""
    return Dataset(
        rows=lambda numbers: {},  # noqa: ARG005
        examples=examples,
        batch_rows=ROWS,
        num_rows=7,
        num_examples=7,
        fill=1.0,
        fingerprint="",
    )


def packed(numbers: np.ndarray) -> list[np.ndarray]:
    """Row n holds n % 3 examples, from 10 n on."""
    return [np.arange(10 * n, 10 * n + n % 3) for n in numbers.tolist()]


def write(path: Path, *, steps, examples=packed, resume_at: int = 0) -> list[dict]:
    ledger = Ledger(str(path), dataset(examples), resume_at=resume_at)
    for step in steps:
        ledger.add(range(step, step + 1))
    ledger.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_how_many_examples_a_batch_held_and_hashes_their_ids(tmp_path):
    lines = write(tmp_path / "batches.jsonl", steps=range(2))
    assert [(line["step"], line["examples"]) for line in lines] == [(0, 3), (1, 3)]
    content = b""  # rows 3, 4 and 5: none, one and two examples
    for ids in ([], [40], [50, 51]):
        content += len(ids).to_bytes(8, "little")
        content += b"".join(number.to_bytes(8, "little") for number in ids)
    assert lines[1]["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        lambda numbers: packed(numbers)[::-1],
        lambda numbers: [ids[::-1] for ids in packed(numbers)],
        lambda numbers: [ids + 1 for ids in packed(numbers)],
        lambda numbers: [np.concatenate(packed(numbers))] + [np.arange(0)] * (ROWS - 1),
    ],
    ids=["other order of rows", "other order in a row", "other examples", "all in the first row"],
)
def test_another_batch_has_another_hash(tmp_path, other):
    (line,) = write(tmp_path / "a", steps=[0])
    (changed,) = write(tmp_path / "b", steps=[0], examples=other)
    assert line["examples"] == changed["examples"]
    assert line["sha256"] != changed["sha256"]


def test_the_type_of_the_ids_does_not_count(tmp_path):
    narrow = lambda numbers: [ids.astype(np.int32) for ids in packed(numbers)]  # noqa: E731
    assert write(tmp_path / "a", steps=[0]) == write(tmp_path / "b", steps=[0], examples=narrow)


@pytest.mark.parametrize("resume_at", [0, 2, 5])
def test_a_resumed_run_leaves_the_file_of_one_that_was_not_stopped(tmp_path, resume_at):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    write(whole, steps=range(6))
    write(stopped, steps=range(5))
    with stopped.open("a") as file:
        file.write('{"step": 5, "exam')  # cut off by a crash
    write(stopped, steps=range(resume_at, 6), resume_at=resume_at)
    assert stopped.read_bytes() == whole.read_bytes()


def test_a_line_is_in_the_file_as_soon_as_its_step_begins(tmp_path):
    path = tmp_path / "batches.jsonl"
    ledger = Ledger(str(path), dataset(packed), resume_at=0)
    ledger.add(range(1))
    assert len(path.read_text().splitlines()) == 1
    ledger.close()
