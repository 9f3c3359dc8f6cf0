"""The mean of arrays that differ in type, and what is no mean at all."""

import numpy as np
import pytest

from bigjax.checkpoints import averaging, restore
from bigjax.errors import UserError


@pytest.fixture
def runs(monkeypatch):
    """Folders by name, as `restore.read_params` reads them."""
    there = {}
    monkeypatch.setattr(restore, "read_params", lambda folder: there[folder])
    return there


def test_statistics_are_averaged_too_and_all_is_float32_rounded_once(runs):
    for i, x in enumerate((1e8, 1.0, -1e8)):
        runs[str(i)] = (
            {"a": np.full(2, x, np.float16 if x == 1 else np.float32)},
            {"batch_stats": {"mean": np.float32([i])}},
            10 * i,
        )
    mean, steps = averaging.mean_of(["0", "1", "2"])
    assert steps == [0, 10, 20]
    assert mean["params"]["a"].dtype == np.float32
    assert mean["params"]["a"].tolist() == [np.float32(1 / 3)] * 2
    assert mean["model_state"]["batch_stats"]["mean"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": np.zeros((3, 2))}, r"params/a is \(3, 2\) in 1 and \(2, 3\) in 0"),
        ({"a": np.zeros((2, 3)), "b": np.zeros(1)}, r"params/b is \(1,\) in 1 and absent in 0"),
        ({}, r"params/a is absent in 1"),
    ],
)
def test_other_arrays_are_one_line(runs, other, message):
    runs["0"], runs["1"] = ({"a": np.zeros((2, 3))}, {}, 1), (other, {}, 2)
    with pytest.raises(UserError, match=message):
        averaging.mean_of(["0", "1"])
