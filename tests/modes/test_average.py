"""The mean of several checkpoints as a run of its own: scored and used as any other."""

import json
import shutil

import jax
import numpy as np
import pytest
from tiny_runs import one_device

import bigjax
from bigjax.checkpoints import manifest, restore
from bigjax.engine import sharding
from bigjax.errors import UserError
from bigjax.modes import average
from bigjax.modes.flags import Flags
from bigjax.modes.run import run
from bigjax.trees import leaf_names


@pytest.fixture(autouse=True)
def on_one_device(monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", one_device)


def params_of(folder) -> dict[str, np.ndarray]:
    params = restore.read_params(str(folder))[0]
    return dict(zip(leaf_names(params), jax.tree.leaves(params)))


def test_the_mean_of_checkpoints_is_scored_and_answers_as_any_run(finished_run, tmp_path, capsys):
    origin, made = finished_run[0], tmp_path / "mean"
    first, last = manifest.steps(str(origin / "checkpoints"))[-2:]
    runs = f"{origin}@{first},{origin}@{last}"
    run(Flags(mode="average", workdir=str(made), runs=runs))
    assert f"the mean of {origin} (step {first}), {origin} (step {last})" in capsys.readouterr().out
    before, after = (params_of(origin / "checkpoints" / str(step)) for step in (first, last))
    found = params_of(made)
    assert list(found) == list(before)
    moved = 0.0
    for name, x in found.items():
        expected = (before[name].astype(np.float64) + after[name].astype(np.float64)) / 2
        assert x.dtype == np.float32 and np.array_equal(x, expected.astype(np.float32))
        moved = max(moved, np.abs(x - after[name].astype(np.float32)).max())
    assert moved > 0
    run(Flags(mode="evaluate", workdir=str(made)))
    results = json.loads((made / "results.json").read_text())
    assert results["step"] == last and (made / "report.html").exists()
    (answer,) = bigjax.load(str(made))(["Anna met Bob in Paris"])
    assert answer["entities"]


def test_the_mean_of_a_run_and_itself_is_that_run(finished_run, tmp_path):
    origin, made = finished_run[0], tmp_path / "mean"
    average.average([str(origin), str(origin)], workdir=str(made))
    chosen, found = params_of(origin), params_of(made)
    assert all(np.array_equal(found[name], x.astype(np.float32)) for name, x in chosen.items())
    shutil.copy(
        origin / "calibration.json", made
    )  # a new run has no temperature until it is scored
    assert bigjax.load(str(made))("Anna met Bob") == bigjax.load(str(origin))("Anna met Bob")


def test_what_cannot_be_averaged_is_one_line_and_leaves_nothing(finished_run, tmp_path):
    origin, made = str(finished_run[0]), str(tmp_path / "mean")
    other = shutil.copytree(origin, tmp_path / "other")
    (other / "tags.txt").write_text("O\nB-LOC\nI-LOC\nB-ORG\nI-ORG\n")
    (other / "train_entities.txt").unlink()
    for runs, message in (
        ([origin], "of two or more"),
        ([origin, str(other)], r"cannot be averaged, tags\.txt differ"),
        ([origin, f"{origin}@77"], r"no such checkpoint; there are those of step \d"),
        ([origin, f"{origin}@best"], "no step in 'best'"),
        ([origin, str(tmp_path)], "is no run"),
        ([origin, str(tmp_path / "none")], "is no run"),
    ):
        with pytest.raises(UserError, match=message):
            average.average(runs, workdir=made)
    with pytest.raises(UserError, match="holds a run already"):
        average.average([origin, origin], workdir=str(other))
    with pytest.raises(UserError, match="--mode=average needs --runs"):
        run(Flags(mode="average", workdir=made))
    assert not (tmp_path / "mean").exists()
