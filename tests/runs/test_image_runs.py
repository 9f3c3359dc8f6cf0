"""Whole runs of image classification with all there is switched on: that one that was stopped ends
as if it had not been, and that nothing but rounding depends on the devices. And the shipped config
for digits from the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from conftest import ROOT, optimised
from digits import (
    DIGITS,
    MIXED,
    SMALL,
    assert_bitwise_equal,
    built,
    load,
    mesh_of,
    skewed,
    updates,
)

from bigjax.checkpoints import restore
from bigjax.checkpoints.save import Checkpoints
from bigjax.data.images import image_sources
from bigjax.engine import build, sharding
from bigjax.errors import UserError
from bigjax.loop import starting_points
from bigjax.modes import train
from bigjax.trees import leaf_names

TOLERANCE = 1e-5
NUM_STEPS = 24
EVERYTHING = SMALL | MIXED | {
    "num_epochs": "none",
    "num_steps": str(NUM_STEPS),
    "ema_decay": "0.8",
    "model.widths": "(8, 8)",
    "augment.flip": "true",
    "augment.cutout": "3",
    "augment.randaugment_layers": "1",
    "loss.label_smoothing": "0.1",
    "loss.class_weights": "balanced",
    "optim.learning_rate": "0.01",
    "optim.learning_rate_rules": "(('conv_0/.*', 0.0), ('.*', 1.0))",
    "eval.every_epochs": "none",
    "eval.every_steps": "8",
    "eval.batch_rows": "100",
    "checkpoint.every_steps": "5",
    "checkpoint.every_minutes": "none",
    "log.every_steps": "1",
    "log.batches": "true",
}  # fmt: skip
TIMING = ("_per_second", "input_wait")


@pytest.fixture(autouse=True, scope="module")
def _optimised():
    """An average of what does not change is that only where it is one operation."""
    with optimised():
        yield


@pytest.fixture
def on_one_device(monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", lambda spec: mesh_of(1))  # noqa: ARG005


@pytest.fixture(scope="module")
def fast_file(tmp_path_factory):
    """The shipped config with the network that has batch statistics."""
    shipped = DIGITS.read_text(encoding="utf-8")
    changed = shipped.replace('{"name": "small_cnn", "padding": 1}', '{"name": "fast_cnn"}')
    assert changed != shipped
    file = tmp_path_factory.mktemp("config") / "cnn_fast.py"
    file.write_text(changed, encoding="utf-8")
    return file


class Run(NamedTuple):
    setup: build.Setup
    workdir: Path
    scores: dict[str, float]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fast_file):
    """A whole run on one device, with all there is of augmentation; not to be written to."""
    workdir = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", lambda spec: mesh_of(1))  # noqa: ARG005
        config = load(EVERYTHING, file=fast_file)
        scores = train.train(config, workdir=str(workdir))
        return Run(build.build(config), workdir, scores)


def last_state(run: Run, *, workdir: Path):
    checkpoints = Checkpoints(str(workdir), keep_latest=1, keep_best=1)
    state, _ = checkpoints.restore(NUM_STEPS, like=run.setup.state)
    checkpoints.close()
    return state


def metrics_of(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl without what was measured by the clock."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not k.endswith(TIMING)} for line in lines]


def curve(workdir: Path, name: str) -> list[float]:
    return [line[name] for line in metrics_of(workdir) if name in line]


def test_what_is_frozen_stays_bitwise_as_it_was_and_all_else_moves(finished):
    """Batch statistics too."""
    before, _ = starting_points.new_state(finished.setup)
    after = last_state(finished, workdir=finished.workdir)
    for kind in ("params", "ema", "model_state"):
        old, new = getattr(before, kind), getattr(after, kind)
        same = jax.tree.map(np.array_equal, jax.device_get(old), jax.device_get(new))
        for name, equal in zip(leaf_names(same), jax.tree.leaves(same), strict=True):
            assert equal == (name == "conv_0/kernel")
    assert set(after.model_state) == {"batch_stats"}


@pytest.mark.usefixtures("on_one_device")
def test_the_same_seed_gives_bitwise_the_same_state_twice_in_a_row(finished):
    states = [updates(finished.setup, num_steps=10)[0] for _ in range(2)]
    assert_bitwise_equal(*states)


@pytest.mark.usefixtures("on_one_device")
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(finished, tmp_path, monkeypatch):
    """Batch statistics, averaged parameters, metrics and the record of batches included."""
    original = build.build

    def stopping_at_13(config):
        run = original(config)

        def compiled(state, frozen, batch):
            if int(state.step) == 13:
                raise KeyboardInterrupt
            return run.compiled(state, frozen, batch)

        return run._replace(compiled=compiled)

    config = finished.setup.config
    with monkeypatch.context() as patch:
        patch.setattr(train, "build", stopping_at_13)
        with pytest.raises(KeyboardInterrupt):
            train.train(config, workdir=str(tmp_path))
    assert train.train(config, workdir=str(tmp_path)) == finished.scores
    states = [last_state(finished, workdir=workdir) for workdir in (tmp_path, finished.workdir)]
    assert_bitwise_equal(*states)
    assert states[0].ema is not None
    assert metrics_of(tmp_path) == metrics_of(finished.workdir)
    for name in ("batches.jsonl", "classes.txt"):
        assert (tmp_path / name).read_bytes() == (finished.workdir / name).read_bytes()


@pytest.mark.usefixtures("on_one_device")
def test_other_parts_of_an_update_are_refused_where_there_are_batch_statistics(
    finished, fast_file, tmp_path
):
    """They are of a part, so their number shapes the run."""
    workdir = Path(shutil.copytree(finished.workdir, tmp_path / "run"))
    changed = load(EVERYTHING | {"batch.accumulate": "3"}, file=fast_file)
    with pytest.raises(UserError, match=r"parts of an update \(batch\.accumulate\): 1 -> 3"):
        train.train(changed, workdir=str(workdir))


def test_eight_devices_give_the_curve_of_one(finished, tmp_path):
    """Which do not divide a batch of 30 rows."""
    scores = train.train(finished.setup.config, workdir=str(tmp_path))
    for found, expected in zip(metrics_of(tmp_path), metrics_of(finished.workdir), strict=True):
        assert found == pytest.approx(expected, rel=TOLERANCE)
    assert scores == pytest.approx(finished.scores, rel=TOLERANCE)


def test_a_run_gives_its_body_and_statistics_to_one_with_another_head(
    finished, fast_file, monkeypatch
):
    monkeypatch.setitem(image_sources.IMAGE_SOURCES, "digits", skewed)  # of seven classes
    given = EVERYTHING | {"init.checkpoint": str(finished.workdir), "ema_decay": "none"}
    run = built(given, file=fast_file)
    found, _ = starting_points.new_state(run)
    at_random = run.task._replace(model=run.task.model._replace(pretrained=None))
    random, _ = starting_points.new_state(run._replace(task=at_random))
    params, model_state, _ = restore.read_params(str(finished.workdir))
    assert found.params["head"]["bias"].shape == (7,)
    assert_bitwise_equal(found.params["head"], random.params["head"])
    body = lambda params: {name: tree for name, tree in params.items() if name != "head"}  # noqa: E731
    assert_bitwise_equal(body(found.params), body(params))
    assert_bitwise_equal(found.model_state, model_state)


# --- from the command line ------------------------------------------------------------------------


def run_main(*flags: str, home: Path) -> str:
    """Runs main.py as a user would, on one device; what it printed."""
    as_set_here = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    environment = {key: value for key, value in os.environ.items() if key not in as_set_here}
    finished = subprocess.run(
        [sys.executable, "main.py", *flags],
        cwd=ROOT,
        env=environment | {"XDG_CACHE_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The folder of a run of the shipped config, what it printed, and where its cache is."""
    folder = tmp_path_factory.mktemp("digits")
    flags = (f"--config={DIGITS}", f"--workdir={folder}/run")
    return folder / "run", run_main(*flags, home=folder), folder


@pytest.mark.slow
def test_the_shipped_config_reaches_its_accuracy_and_shows_its_mistakes(shipped):
    workdir, printed, _ = shipped
    results = json.loads((workdir / "results.json").read_text())
    assert results["scores"]["test/accuracy"] >= 0.98
    assert "finished at step 842" in printed
    confusion = next(s for s in results["sections"] if s["kind"] == "confusion")
    counts = np.array(confusion["counts"])
    assert counts.sum() == 300
    num_wrong = int(counts.sum() - np.trace(counts))
    assert 1 - num_wrong / 300 == pytest.approx(results["scores"]["test/accuracy"])
    pictures = [s for s in results["sections"] if s["kind"] == "images"]
    assert sum(len(s["items"]) for s in pictures) == min(num_wrong, 24)
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == min(num_wrong, 24)


@pytest.mark.slow
def test_the_shipped_run_is_evaluated_anew_with_the_same_scores(shipped):
    workdir, _, home = shipped
    results = json.loads((workdir / "results.json").read_text())
    (workdir / "results.json").unlink()
    run_main("--mode=evaluate", f"--workdir={workdir}", home=home)
    assert json.loads((workdir / "results.json").read_text()) == results


def test_check_shows_the_data_and_the_size_of_the_network(tmp_path):
    printed = run_main("--mode=check", f"--config={DIGITS}", home=tmp_path)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "parameters 72,842" in lines
    assert any(line.startswith("train: images 1,347 of 8 x 8 pixels") for line in lines)
