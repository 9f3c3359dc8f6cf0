"""What a run keeps of each example: read as it was written, and to the byte the same."""

import numpy as np
import pytest

from bigjax.errors import UserError
from bigjax.run_folder import examples
from bigjax.run_folder.examples import Examples
from bigjax.scores import intervals
from bigjax.scores.intervals import Parts

KEPT = Examples(
    parts={
        "share": Parts.of([1, 0, 1], [1, 1, 2]),
        "mean/share": Parts(np.array([0, 1, 1], np.int32), np.eye(2), np.ones((2, 2))),
    },
    wrong={
        1: {"example": 1, "words": ["a\u2028b", "\r\n", "\udc80", "né"], "gold": [[0, 1, "X"]]},
        2: {"example": 2, "words": [], "gold": []},
    },
    kind="tagged_text",
    step=7,
    fingerprint="0" * 64,
)


def test_what_is_kept_is_read_again_as_it_was(tmp_path):
    for split in ("test", "dev", "dev_b"):
        examples.write(str(tmp_path), split=split, examples=KEPT)
    assert examples.splits(str(tmp_path)) == ["dev", "dev_b", "test"]
    found = examples.read(str(tmp_path), split="dev")
    assert found._replace(parts={}) == KEPT._replace(parts={})
    assert list(found.parts) == list(KEPT.parts)
    for name, parts in KEPT.parts.items():
        assert intervals.interval(found.parts[name]) == intervals.interval(parts)
        assert all(np.array_equal(a, b) for a, b in zip(found.parts[name], parts))


def test_the_same_examples_are_the_same_bytes(tmp_path):
    path = tmp_path / "examples" / "test.npz"
    written = []
    for _ in range(2):
        examples.write(str(tmp_path), split="test", examples=KEPT)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_a_run_of_before_has_none(tmp_path):
    assert examples.splits(str(tmp_path)) == []
    assert examples.read(str(tmp_path), split="test") is None


@pytest.mark.parametrize("damage", [b"", b"PK", b"not an archive", None])
def test_a_damaged_file_is_one_line(tmp_path, damage):
    examples.write(str(tmp_path), split="test", examples=KEPT)
    path = tmp_path / "examples" / "test.npz"
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(UserError, match=r"test\.npz: is damaged.*--mode=evaluate"):
        examples.read(str(tmp_path), split="test")
