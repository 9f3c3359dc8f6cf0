"""Runs on a table: killed and resumed, on eight devices, scored again from the folder alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_runs
from conftest import ROOT

from bigjax.config import values as configs
from bigjax.engine import build, settings, sharding
from bigjax.errors import UserError
from bigjax.modes import evaluate, train

TABLE = ROOT / "configs" / "table.py"
SMALL = {
    "num_epochs": "none",
    "num_steps": str(tiny_runs.NUM_STEPS),
    "steps_per_dispatch": "4",
    "batch.rows": "16",
    "model.widths": "8,4",
    "model.batch_norm": "true",
    "eval.every_epochs": "none",
    "eval.every_steps": "8",
    "eval.metric": "loss",
    "eval.batch_rows": "64",
    "checkpoint.every_steps": "5",
    "log.every_steps": "4",
    "log.batches": "true",
    "data.missing": "indicator",
}


def written(path: Path, *, num: int, seed: int) -> str:
    """Flowers, two thirds of which their numbers tell apart; some without a value."""
    rng = np.random.default_rng(seed)
    lines = ["long,wide,colour,kind"]
    for _ in range(num):
        kind = rng.integers(3)
        long = "" if rng.random() < 0.1 else f"{rng.normal(kind, 0.6):.3f}"
        colour = rng.choice(["red", "blue"], p=[0.8, 0.2] if kind else [0.3, 0.7])
        lines.append(f"{long},{rng.normal(-kind, 0.9):.3f},{colour},{'abc'[kind]}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tables")
    sizes = {"train": 120, "dev": 60, "test": 60}
    return {
        f"data.{split}": written(folder / f"{split}.csv", num=num, seed=i)
        for i, (split, num) in enumerate(sizes.items())
    }


def load(files, overrides=()):
    given = SMALL | files | dict(overrides)
    return configs.load(f"{TABLE}:files", overrides=given, schema=settings.schema)


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", tiny_runs.one_device)


@pytest.mark.usefixtures("one_device")
def test_a_killed_run_on_a_table_ends_as_one_that_was_not_and_can_be_scored_again(
    files, tmp_path, monkeypatch
):
    config, straight, killed = load(files), tmp_path / "straight", tmp_path / "killed"
    scores = train.train(config, workdir=str(straight))
    assert scores["test/accuracy"] > 0.45

    def die():
        raise RuntimeError("killed")

    original = build.Setup.train_step
    with monkeypatch.context() as patch:
        patch.setattr(build.Setup, "train_step", tiny_runs.at_call(original, number=5, act=die))
        with pytest.raises(RuntimeError):
            train.train(config, workdir=str(killed))
    assert train.train(config, workdir=str(killed)) == scores
    tiny_runs.assert_same_run(killed, straight)

    titles = [s["title"] for s in json.loads((straight / "results.json").read_text())["sections"]]
    for title in ("ROC curve", "Precision-recall curve", "Beside simpler models", "Importance of"):
        assert any(found.startswith(title) for found in titles), title

    gone = load(files, {"data.train": str(tmp_path / "gone.csv")})
    assert evaluate.score_run(gone, workdir=str(straight)) == pytest.approx(scores)
    changed = tmp_path / "changed.csv"
    changed.write_text(Path(files["data.test"]).read_text().replace("wide", "broad"))
    other = load(files, {"data.test": str(changed)})
    with pytest.raises(UserError, match="changed.csv: no column 'wide', which training has"):
        evaluate.score_run(other, workdir=str(straight))


def losses(files, *, num_devices, overrides=()):
    import digits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", lambda spec: digits.mesh_of(num_devices))  # noqa: ARG005
        setup = build.build(load(files, {"steps_per_dispatch": "1", **dict(overrides)}))
        return digits.updates(setup, num_steps=5)[1]


def test_eight_devices_and_parts_of_a_batch_train_as_one_device_does(files):
    """19 rows a batch, which eight devices do not divide. Batch statistics are of a part."""
    options = {"batch.rows": "19", "model.batch_norm": "false"}
    expected = losses(files, num_devices=1, overrides=options)
    for num_devices, parts in ((8, 1), (2, 3)):
        parted = options | {"batch.accumulate": str(parts)}
        found = losses(files, num_devices=num_devices, overrides=parted)
        np.testing.assert_allclose(found, expected, rtol=2e-5)
