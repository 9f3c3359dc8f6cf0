"""Whole runs of the shipped config, shrunk: what a run leaves behind, that one that was stopped
ends as if it had not been, and that nothing but rounding depends on the devices."""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from tiny_runs import one_device

from bigjax.checkpoints.save import Checkpoints
from bigjax.config import values as configs
from bigjax.data.pipeline import global_batch
from bigjax.engine import build, settings, sharding
from bigjax.errors import UserError
from bigjax.loop import loop, starting_points
from bigjax.loop.evaluate import evaluate
from bigjax.loop.nonfinite import NonFiniteError
from bigjax.models import huggingface
from bigjax.modes import run, train
from bigjax.modes.flags import Flags
from bigjax.run_folder import folder as run_folder
from bigjax.tasks.task import Score

pytestmark = pytest.mark.usefixtures("shared_builds")
TOLERANCE = 1e-5
NUM_STEPS = 24
SCRATCH = f"{ROOT}/configs/bert_ner.py:scratch"
SHRUNK = {
    "num_epochs": "none",
    "num_steps": str(NUM_STEPS),
    "text.vocab_size": "1000",
    "text.row_length": "32",
    "model.num_layers": "2",
    "model.hidden_size": "16",
    "model.num_heads": "2",
    "model.mlp_size": "32",
    "data.num_train": "300",
    "data.num_dev": "40",
    "data.num_test": "30",
    "batch.examples": "none",
    "batch.rows": "41",
    "optim.learning_rate": "0.02",
    "eval.every_epochs": "none",
    "eval.every_steps": "8",
    "checkpoint.every_steps": "5",
    "checkpoint.every_minutes": "none",
    "log.every_steps": "4",
}
TIMING = ("_per_second", "input_wait")


def load(overrides=(), *, file: str = SCRATCH) -> configs.Config:
    return configs.load(file, overrides=SHRUNK | dict(overrides), schema=settings.schema)


@pytest.fixture
def on_one_device(monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", one_device)


class Run(NamedTuple):
    """A run that has ended."""

    setup: build.Setup
    workdir: Path
    scores: dict[str, float]

    def restore(self, step: int, *, workdir: Path | None = None):
        """State and facts of a step, of this run or of one like it in `workdir`."""
        checkpoints = Checkpoints(str(workdir or self.workdir), keep_latest=1, keep_best=1)
        restored = checkpoints.restore(step, like=self.setup.state)
        checkpoints.close()
        return restored


def train_on_one_device(config: configs.Config, *, workdir: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        scores = train.train(config, workdir=str(workdir))
        return Run(build.build(config), workdir, scores)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run on one device; its folder is not to be written to."""
    return train_on_one_device(load(), workdir=tmp_path_factory.mktemp("finished"))


def from_run(run: Run, overrides=()) -> configs.Config:
    """Of a run that starts from the parameters of another one, with its vocabulary and sizes."""
    shrunk = {k: v for k, v in SHRUNK.items() if not k.startswith(("model.", "text.vocab"))}
    overrides = shrunk | {"init.checkpoint": str(run.workdir)} | dict(overrides)
    file = f"{ROOT}/configs/bert_ner.py"
    return configs.load(file, overrides=overrides, schema=settings.schema)


def metrics_of(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl without what was measured by the clock."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not k.endswith(TIMING)} for line in lines]


def curve(workdir: Path, name: str) -> dict[int, float]:
    return {line["step"]: line[name] for line in metrics_of(workdir) if name in line}


def steps_in(workdir: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(workdir / "checkpoints"))


def results_of(workdir: Path) -> dict:
    return json.loads((workdir / "results.json").read_text())


def copy_of(workdir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workdir, tmp_path / "run"))


def assert_bitwise_equal(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def change_train_step(monkeypatch, change) -> None:
    """`change(number, state, train_step, batch)` takes the place of update `number` of a run."""
    original = build.build

    def changed(config):
        built = original(config)

        def compiled(state, frozen, batch):
            del frozen
            return change(int(state.step), state, built.train_step, batch)

        return built._replace(compiled=compiled)

    monkeypatch.setattr(train, "build", changed)


def train_until(stop: int, monkeypatch, *, config: configs.Config, workdir: Path) -> None:
    """A run that is interrupted before update `stop`."""

    def interrupt(number, state, train_step, batch):
        if number == stop:
            raise KeyboardInterrupt
        return train_step(state, batch)

    with monkeypatch.context() as patch:
        change_train_step(patch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train.train(config, workdir=str(workdir))


def with_infinity(params):
    """The parameters with one infinite number in the table of words."""
    leaf = params["encoder"]["word"]["embedding"]
    bad = jax.device_put(leaf.at[0, 0].set(jnp.inf), leaf.sharding)
    word = {"word": {"embedding": bad}}
    return params | {"encoder": params["encoder"] | word}


# --- a whole run ----------------------------------------------------------------------------------


def test_a_run_learns(finished):
    """The loss falls, on dev below that of guessing by how frequent each tag is."""
    losses = list(curve(finished.workdir, "train/loss").values())
    assert losses[-1] < 0.8 * losses[0]
    dev = finished.setup.task.data.evals["dev"]
    rows = dev.rows(np.arange(dev.num_rows))
    counts = np.bincount(rows["labels"][rows["mask"]]).astype(float)
    shares = counts[counts > 0] / counts.sum()
    assert finished.scores["dev/loss"] < -0.95 * (shares * np.log(shares)).sum()
    assert finished.scores["dev/entity_f1"] > 0


def test_a_run_logs_when_it_should(finished):
    workdir = finished.workdir
    assert list(curve(workdir, "train/loss")) == [4, 8, 12, 16, 20, 24]
    assert list(curve(workdir, "dev/entity_f1")) == [8, 16, 24]
    assert list(curve(workdir, "test/entity_f1")) == [24]
    rates = curve(workdir, "train/learning_rate")
    assert rates[4] > rates[12] > rates[24] > 0


def test_a_run_leaves_its_records_behind(finished):
    workdir, scores = finished.workdir, finished.scores
    record = json.loads((workdir / "config.json").read_text())
    again = configs.from_record(record, path="config.json", overrides={}, schema=settings.schema)
    assert again.flat() == load().flat()
    assert again.origins["optim.learning_rate"] == "override"

    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["packages"]["jax"] == jax.__version__
    assert set(environment["data_fingerprint"]) == {"train", "dev", "test"}

    results = results_of(workdir)
    assert results["scores"] == scores
    assert results["step"] == NUM_STEPS
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "Entity F1" in page
    assert list((workdir / "tensorboard").glob("events.out.tfevents.*"))
    assert (workdir / "tags.txt").read_text().split()[0] == "O"
    assert "##" in (workdir / "tokenizer.json").read_text()


def test_final_scores_are_those_of_dev_at_that_step(finished):
    workdir, scores = finished.workdir, finished.scores
    for name in ("dev/entity_f1", "dev/accuracy", "dev/loss"):
        assert scores[name] == curve(workdir, name)[NUM_STEPS]


@pytest.mark.usefixtures("on_one_device")
def test_evaluation_anew_gives_the_same_scores(finished, tmp_path):
    workdir = copy_of(finished.workdir, tmp_path)
    (workdir / "results.json").unlink()
    run.run(Flags("evaluate", workdir=str(workdir)))
    assert results_of(workdir)["scores"] == finished.scores


@pytest.mark.usefixtures("on_one_device")
def test_a_finished_run_that_is_run_again_scores_itself_and_changes_nothing(finished, tmp_path):
    workdir = copy_of(finished.workdir, tmp_path)
    assert train.train(load(), workdir=str(workdir)) == finished.scores
    assert metrics_of(workdir) == metrics_of(finished.workdir)
    assert steps_in(workdir) == steps_in(finished.workdir)


# --- stopped and resumed --------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "resumed_at"), [(8, 8), (13, 10)])
@pytest.mark.usefixtures("on_one_device")
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    finished, tmp_path, monkeypatch, capsys, stop, resumed_at
):
    train_until(stop, monkeypatch, config=load(), workdir=tmp_path)
    capsys.readouterr()
    assert train.train(load(), workdir=str(tmp_path)) == finished.scores
    assert capsys.readouterr().out.startswith(f"resuming at step {resumed_at} of {NUM_STEPS};")
    assert_bitwise_equal(finished.restore(NUM_STEPS, workdir=tmp_path), finished.restore(NUM_STEPS))
    assert metrics_of(tmp_path) == metrics_of(finished.workdir)


@pytest.mark.usefixtures("on_one_device")
def test_settings_that_change_the_run_are_refused_and_listed(finished, tmp_path):
    workdir = copy_of(finished.workdir, tmp_path)
    changed = {"optim.b1": "0.8", "data.num_dev": "39", "eval.every_steps": "4"}
    with pytest.raises(UserError) as error:
        train.train(load(changed), workdir=str(workdir))
    message = str(error.value)
    assert "(optim.b1: 0.9 -> 0.8; data.num_dev: 40 -> 39; the content of dev)" in message
    assert "use another --workdir, undo the change" in message
    assert message.endswith("--allow_config_change")
    assert metrics_of(workdir) == metrics_of(finished.workdir)


@pytest.mark.usefixtures("on_one_device")
def test_settings_that_do_not_change_the_run_are_accepted(finished, tmp_path):
    workdir = copy_of(finished.workdir, tmp_path)
    harmless = {
        "log.every_steps": "3",
        "checkpoint.every_steps": "7",
        "checkpoint.keep_latest": "2",
        "eval.batch_rows": "7",
        "eval.final": "latest",
        "decode.score": "minimum",
    }
    record = json.loads((workdir / "config.json").read_text())
    for key in ("model.head", "decode.kind"):  # as if the run was from before there was such a one
        del record["values"][key], record["origins"][key]
    (workdir / "config.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"\(model\.head: None -> 'crf'\)"):
        train.train(load({"model.head": "crf"}), workdir=str(workdir))
    scores = train.train(load(harmless), workdir=str(workdir))
    # What is calibrated is the score of an entity, which decode.score says.
    was = {name: x for name, x in finished.scores.items() if "calibrat" not in name}
    assert {name: scores[name] for name in was} == pytest.approx(was, rel=TOLERANCE)


@pytest.mark.usefixtures("on_one_device")
def test_a_change_is_accepted_where_it_is_asked_for(finished, tmp_path):
    workdir = copy_of(finished.workdir, tmp_path)
    longer = load({"num_steps": str(NUM_STEPS + 2)})
    with pytest.raises(UserError, match="num_steps: 24 -> 26.* follows the new schedule"):
        train.train(longer, workdir=str(workdir))
    train.train(longer, workdir=str(workdir), allow_config_change=True)
    assert int(finished.restore(NUM_STEPS + 2, workdir=workdir)[0].step) == NUM_STEPS + 2


@pytest.mark.usefixtures("on_one_device")
def test_other_training_data_is_refused_even_then(finished, tmp_path):
    workdir = copy_of(finished.workdir, tmp_path)
    with pytest.raises(UserError, match="trained on other data; .*init.resume_from"):
        train.train(load({"data.seed": "1"}), workdir=str(workdir), allow_config_change=True)


@pytest.mark.usefixtures("on_one_device")
def test_the_full_state_of_another_run_is_gone_on_from(finished, tmp_path, capsys):
    given = {"init.resume_from": str(finished.workdir), "num_steps": str(NUM_STEPS + 2)}
    train.train(load(given), workdir=str(tmp_path))
    assert f"starting from the state of {finished.workdir}, at step 24" in capsys.readouterr().out
    assert list(curve(tmp_path, "train/loss")) == [NUM_STEPS + 2]
    with pytest.raises(UserError, match="is at step 24, and this run ends at step 24"):
        train.train(load(given | {"num_steps": str(NUM_STEPS)}), workdir=str(tmp_path / "other"))


@pytest.mark.usefixtures("on_one_device")
def test_parameters_of_another_run_start_a_run_with_its_own_tokenizer(finished, capsys):
    state, source = starting_points.new_state(build.build(from_run(finished)))
    best = results_of(finished.workdir)["step"]
    assert source == f"{finished.workdir} (step {best})"
    assert_bitwise_equal(state.params, finished.restore(best)[0].params)
    assert "arrays matched" in capsys.readouterr().out


def with_tags(run: Run, tmp_path: Path, *, change) -> tuple[Run, list[str]]:
    """A copy of the run that says of other tags that it was trained for them, and those tags."""
    workdir = copy_of(run.workdir, tmp_path)
    tags = change((workdir / "tags.txt").read_text().split())
    (workdir / "tags.txt").write_text("".join(f"{tag}\n" for tag in tags))
    return run._replace(workdir=workdir), tags


def params_from(run: Run):
    """The parameters that a run starts with which is given those of another one."""
    return starting_points.new_state(build.build(from_run(run)))[0].params


@pytest.mark.usefixtures("on_one_device")
def test_tags_of_another_order_permute_the_head(finished, tmp_path, capsys):
    other, tags = with_tags(finished, tmp_path, change=lambda tags: [tags[0], *tags[:0:-1]])
    ours = finished.setup.task.use.files["tags.txt"].split()
    assert tags != ours and sorted(tags) == sorted(ours)
    found = params_from(other)
    expected = finished.restore(results_of(finished.workdir)["step"])[0].params
    columns = [tags.index(tag) for tag in ours]
    for name in ("kernel", "bias"):
        moved = np.asarray(expected["head"][name])[..., columns]
        np.testing.assert_array_equal(found["head"][name], moved)
    assert_bitwise_equal(found["encoder"], expected["encoder"])
    assert "at random" not in capsys.readouterr().out


@pytest.mark.usefixtures("on_one_device")
def test_of_a_run_with_other_tags_the_encoder_is_taken_and_the_head_starts_at_random(
    finished, tmp_path, capsys
):
    other, _ = with_tags(finished, tmp_path, change=lambda tags: [*tags[:-1], "I-OTHER"])
    found = params_from(other)
    expected = finished.restore(results_of(finished.workdir)["step"])[0].params
    assert_bitwise_equal(found["encoder"], expected["encoder"])
    assert not np.array_equal(found["head"]["kernel"], expected["head"]["kernel"])
    printed = capsys.readouterr().out
    assert all(told in printed for told in ("params/head/kernel", "at random", "I-OTHER"))


@pytest.mark.usefixtures("on_one_device")
def test_layers_are_taken_into_a_scan_and_out_of_it_again(finished, tmp_path):
    scanned = build.build(from_run(finished, {"model.scan_layers": "true"}))
    state, _ = starting_points.new_state(scanned)
    expected = finished.restore(results_of(finished.workdir)["step"])[0].params
    encoder = jax.device_get(expected["encoder"])
    stacked = huggingface.stack_layers(encoder, num_layers=2)
    assert_bitwise_equal(jax.device_get(state.params["encoder"]), stacked)
    assert_bitwise_equal(state.params["head"], expected["head"])

    other = tmp_path / "scanned"
    other.mkdir()
    for name in ("tags.txt", "tokenizer.json", "encoder.json"):
        shutil.copy(finished.workdir / name, other)
    checkpoints = Checkpoints(str(other), keep_latest=1, keep_best=1)
    checkpoints.save(state, step=0, facts={}, score=None)
    checkpoints.close()
    assert_bitwise_equal(params_from(finished._replace(workdir=other)), expected)


@pytest.mark.usefixtures("on_one_device")
def test_the_full_state_of_a_run_with_other_tags_is_refused(finished, tmp_path):
    """It would be read with other meanings."""
    other, _ = with_tags(finished, tmp_path, change=lambda tags: [*tags[:-1], "I-OTHER"])
    given = {"init.resume_from": str(other.workdir), "num_steps": str(NUM_STEPS + 2)}
    with pytest.raises(UserError, match=r"init\.resume_from=.*: its tags\.txt is not this run's"):
        train.train(load(given), workdir=str(tmp_path / "new"))


# --- devices --------------------------------------------------------------------------------------


def test_a_run_split_over_devices_saves_at_any_step_and_one_device_reads_it(finished, tmp_path):
    """Many saves in a row: hashing what is split must not run into the updates."""
    split = {"mesh": "data=2,fsdp=2,tensor=2", "checkpoint.every_steps": "2"}
    train.train(load(split), workdir=str(tmp_path))
    (found, _), (expected, _) = (
        finished.restore(NUM_STEPS, workdir=workdir) for workdir in (tmp_path, finished.workdir)
    )
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(expected.params)):
        np.testing.assert_allclose(a, b, atol=100 * TOLERANCE)


def test_a_run_of_one_device_goes_on_with_eight(finished, tmp_path):
    workdir = copy_of(finished.workdir, tmp_path)
    scores = train.train(load(), workdir=str(workdir))
    assert scores == pytest.approx(finished.scores, rel=TOLERANCE)


# --- parameters in few bits -----------------------------------------------------------------------


@pytest.mark.usefixtures("on_one_device")
def test_a_run_with_parameters_in_bfloat16_learns_goes_on_bitwise_and_gives_them_on(
    finished, tmp_path, monkeypatch
):
    rules = "(('encoder/.*', 'bfloat16'), ('.*', 'float32'))"
    config = load({"optim.param_dtype_rules": rules})
    run = train_on_one_device(config, workdir=tmp_path / "straight")
    assert run.scores["dev/loss"] == pytest.approx(finished.scores["dev/loss"], rel=0.1)
    state, _ = run.restore(NUM_STEPS)
    assert {x.dtype.name for x in jax.tree.leaves(state.params["encoder"])} == {"bfloat16"}
    assert {x.dtype.name for x in jax.tree.leaves(state.params["head"])} == {"float32"}
    assert {x.dtype.name for x in jax.tree.leaves(state.opt_state) if x.ndim} == {"float32"}

    train_until(13, monkeypatch, config=config, workdir=tmp_path / "stopped")
    assert train.train(config, workdir=str(tmp_path / "stopped")) == run.scores
    assert_bitwise_equal(state, run.restore(NUM_STEPS, workdir=tmp_path / "stopped")[0])

    found, _ = starting_points.new_state(build.build(from_run(run)))
    best, _ = run.restore(results_of(run.workdir)["step"])
    for x, y in zip(jax.tree.leaves(found.params), jax.tree.leaves(best.params), strict=True):
        assert x.dtype == jnp.float32
        np.testing.assert_array_equal(x, y.astype(jnp.float32))


# --- several updates at once ----------------------------------------------------------------------


@pytest.mark.usefixtures("on_one_device")
def test_several_updates_at_once_give_the_same_run_and_go_on_bitwise_from_any_step(
    finished, tmp_path, monkeypatch
):
    """Logged every 4 steps, evaluated every 8, saved every 5: the calls are of 1 to 4 updates."""
    several = load({"steps_per_dispatch": "7"})
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    scores = train.train(several, workdir=str(straight))
    assert scores == pytest.approx(finished.scores, rel=TOLERANCE)
    for found, expected in zip(metrics_of(straight), metrics_of(finished.workdir), strict=True):
        assert found == pytest.approx(expected, rel=TOLERANCE)

    other = load({"steps_per_dispatch": "7", "log.every_steps": "3"})
    train_until(16, monkeypatch, config=other, workdir=stopped)
    assert train.train(several, workdir=str(stopped)) == scores
    states = [finished.restore(NUM_STEPS, workdir=workdir)[0] for workdir in (straight, stopped)]
    assert_bitwise_equal(*states)


# --- stopping -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("on_one_device")
def test_early_stopping_stops_and_the_best_is_what_is_scored(finished, tmp_path, monkeypatch):
    """The best is the lowest accuracy here, which no later evaluation of this run falls below."""
    lowest = Score("accuracy", "Accuracy", higher_is_better=False)
    monkeypatch.setattr(loop, "best_score", lambda *_: lowest)
    accuracy = curve(finished.workdir, "dev/accuracy")
    assert accuracy[16] >= accuracy[8]
    overrides = {"eval.patience": "1"}
    scores = train.train(load(overrides), workdir=str(tmp_path))
    assert list(curve(tmp_path, "dev/accuracy").items()) == list(accuracy.items())[:2]
    assert steps_in(tmp_path) == [8, 15, 16]
    assert results_of(tmp_path)["step"] == 8
    assert scores["dev/loss"] == curve(finished.workdir, "dev/loss")[8]

    assert train.train(load(overrides), workdir=str(tmp_path)) == scores  # and it does not go on
    assert steps_in(tmp_path) == [8, 15, 16]
    latest = ["--config.eval.final=latest"]
    run.run(Flags("evaluate", workdir=str(tmp_path)), overrides=latest)
    assert results_of(tmp_path)["scores"]["dev/loss"] == curve(finished.workdir, "dev/loss")[16]


@pytest.mark.usefixtures("on_one_device")
@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_run_ends_where_dev_has_reached_its_target_and_does_not_go_on(finished, tmp_path, metric):
    found = curve(finished.workdir, f"dev/{metric}")
    better = max if metric == "accuracy" else min
    first = list(found)[0]
    assert found[first] != better(found.values()), "nothing to wait for"
    reached = next(step for step in found if better(found[step], found[first]) != found[first])
    between = (found[first] + found[reached]) / 2
    overrides = {"eval.metric": metric, "eval.target": str(between)}
    scores = train.train(load(overrides), workdir=str(tmp_path))
    assert max(steps_in(tmp_path)) == reached
    assert scores[f"dev/{metric}"] == found[reached]
    assert train.train(load(overrides), workdir=str(tmp_path)) == scores
    assert max(steps_in(tmp_path)) == reached


@pytest.mark.usefixtures("on_one_device")
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_evidence(
    finished, tmp_path, monkeypatch
):
    def poison(number, state, train_step, batch):
        if number == 13:
            state = state._replace(params=with_infinity(state.params))
        return train_step(state, batch)

    with monkeypatch.context() as patch:
        change_train_step(patch, poison)
        expected = r"^step 13: not finite: the loss, gradient of encoder/.* and \d+ more; its batch"
        with pytest.raises(NonFiniteError, match=expected) as error:
            train.train(load(), workdir=str(tmp_path))
    assert "\n" not in str(error.value) and error.value.exit_code == 3

    dataset = finished.setup.task.data.train
    batch = global_batch(dataset, step=13, rows=np.arange(dataset.batch_rows))
    kept = np.load(tmp_path / "nonfinite_batch_13.npz")
    assert set(kept) == set(batch)
    for name in kept:
        np.testing.assert_array_equal(kept[name], batch[name])

    assert steps_in(tmp_path) == [8, 10]
    assert max(curve(tmp_path, "train/loss")) == 12
    assert train.train(load(), workdir=str(tmp_path)) == finished.scores  # the checkpoint is intact


@pytest.mark.usefixtures("on_one_device")
def test_parameters_that_are_not_finite_are_not_saved(tmp_path, monkeypatch):
    def poison(number, state, train_step, batch):
        state, scalars = train_step(state, batch)
        if number == 9:
            state = state._replace(params=with_infinity(state.params))
        return state, scalars

    change_train_step(monkeypatch, poison)
    expected = "^step 9: its update made parameters that are not finite: encoder/word/embedding;"
    with pytest.raises(NonFiniteError, match=expected):
        train.train(load(), workdir=str(tmp_path))
    assert steps_in(tmp_path) == [5, 8]


# --- the user's files, a frozen encoder, averaged parameters --------------------------------------


PARTS = {
    "NAME": ("John", "Neil", "York", "Berlin", "Zoë"),
    "VERB": ("lives", "walk", "saw", "play"),
    "WORD": ("in", "near", "and"),
    "ARTICLE": ("the", "a"),
    "STOP": (".", "!"),
}


def write_parts_of_speech(path: Path, *, num_sentences: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(num_sentences):
        tags = [*rng.choice(list(PARTS)[:-1], rng.integers(2, 9)), "STOP"]
        lines += [f"{rng.choice(PARTS[tag])}\t{tag}\n" for tag in tags] + ["\n"]
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def tagged(tmp_path_factory, tiny_bert):
    """A run over plain tags in files, from tiny_bert's weights, of which all but the last layer are
    frozen; parameters are averaged."""
    folder = tmp_path_factory.mktemp("files")
    for split, num_sentences in (("train", 60), ("dev", 20)):
        write_parts_of_speech(
            folder / f"{split}.conll", num_sentences=num_sentences, seed=len(split)
        )
    overrides = {
        "num_epochs": "none",
        "num_steps": "60",
        "ema_decay": "0.8",
        "model.dropout": "0",
        "model.attention_dropout": "0",
        "init.checkpoint": tiny_bert,
        "data.train": str(folder / "train.conll"),
        "data.dev": str(folder / "dev.conll"),
        "text.row_length": "40",
        "batch.examples": "none",
        "batch.rows": "4",
        "optim.learning_rate": "0.02",
        "optim.learning_rate_rules": "(('encoder/(?!layer_1/).*', 0.0), ('.*', 1.0))",
        "eval.every_epochs": "none",
        "eval.final": "latest",
    }
    file = f"{ROOT}/configs/bert_ner.py:files"
    config = configs.load(file, overrides=overrides, schema=settings.schema)
    return train_on_one_device(config, workdir=folder / "run")


def test_plain_tags_are_learnt_and_scored_by_accuracy(tagged):
    workdir, scores = tagged.workdir, tagged.scores
    calibration = {"dev/calibration_error", "dev/calibrated_error"}
    assert set(scores) == {"dev/loss", "dev/accuracy", *calibration}
    assert scores["dev/accuracy"] > 0.7  # the most frequent tag is a quarter of the words
    results = results_of(workdir)
    assert results["headline"] == ["dev/accuracy"]
    confusion = next(s for s in results["sections"] if s["kind"] == "confusion")
    assert confusion["labels"] == sorted(PARTS)
    with open(tagged.setup.config.values["data"]["dev"], encoding="utf-8") as file:
        assert np.sum(confusion["counts"]) == sum(bool(line.strip()) for line in file)


def test_what_is_frozen_keeps_its_pretrained_weights_bitwise(tagged, tiny_bert):
    state, _ = tagged.restore(60)
    weights = huggingface.read_params(tiny_bert, sizes=huggingface.read_sizes(tiny_bert))
    for params in (state.params, state.ema):
        found = jax.device_get(params["encoder"])
        for name, expected in weights.items():
            if name != "layer_1":
                assert_bitwise_equal(found[name], expected)
        same = jax.tree.map(np.array_equal, found["layer_1"], weights["layer_1"])
        assert not any(jax.tree.leaves(same))
    trained = [state.params["head"], state.params["encoder"]["layer_1"]]
    moments = sum(x.size for x in jax.tree.leaves(state.opt_state) if x.ndim)
    assert moments == 2 * sum(x.size for x in jax.tree.leaves(trained))


def test_what_is_scored_is_the_average(tagged):
    state, _ = tagged.restore(60)
    losses = {}
    for name, params in (("average", state.ema), ("last", state.params)):
        last = state._replace(params=params, ema=None)
        losses[name] = evaluate(
            tagged.setup.scorer(),
            split="dev",
            variables=last.averaged(),
            between=lambda: None,
        ).scalars["loss"]
    assert tagged.scores["dev/loss"] == losses["average"] != losses["last"]


def test_where_the_parameters_came_from_is_kept_when_a_run_is_resumed(tagged, tiny_bert, tmp_path):
    kept = lambda folder: json.loads((folder / "environment.json").read_text())  # noqa: E731
    assert kept(tagged.workdir)["init_checkpoint"] == tiny_bert
    workdir = copy_of(tagged.workdir, tmp_path)
    given = {"config": tagged.setup.config, "task": tagged.setup.task}
    run_folder.write_start(str(workdir), **given, source=None)
    assert kept(workdir)["init_checkpoint"] == tiny_bert
    run_folder.write_start(str(workdir), **given, source="some/model@aaaa")
    assert kept(workdir)["init_checkpoint"] == "some/model@aaaa"


@pytest.mark.usefixtures("on_one_device")
def test_other_content_of_the_same_files_is_refused(tagged, tmp_path):
    config, workdir = tagged.setup.config, copy_of(tagged.workdir, tmp_path)
    dev = Path(config.values["data"]["dev"])
    kept = dev.read_text(encoding="utf-8")
    try:
        dev.write_text(kept + "John\tNAME\n", encoding="utf-8")
        with pytest.raises(UserError, match=r"other settings \(the content of dev\)"):
            train.train(config, workdir=str(workdir))
    finally:
        dev.write_text(kept, encoding="utf-8")


# --- before a run ---------------------------------------------------------------------------------


def test_check_shows_settings_data_and_memory_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [f"--config.{key}={value}" for key, value in SHRUNK.items()]
    run.run(Flags("check", config=SCRATCH), overrides=overrides)
    printed = capsys.readouterr().out
    titles = [line for line in printed.splitlines() if line and not line.startswith(" ")]
    assert titles == [
        "settings", "data", "what of the data deserves a look (! is serious)", "run",
        "memory of a device", "between devices, an update",
    ]  # fmt: skip
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    help = "the highest one, which the schedule scales"
    assert f"optim.learning_rate 0.02 (override) {help}" in lines
    assert "optim.b1 0.9 (default) decay of the mean of gradients" in lines
    assert any(line.startswith("train: size 300 sentences, ") for line in lines)
    assert any(line.startswith("steps 24, ") for line in lines)
    assert "state 0.3 MiB: parameters 0.1 MiB, optimizer 0.2 MiB" in lines
    assert any(line.startswith("batch ") and line.endswith(" KiB") for line in lines)
    assert any(line.startswith("peak of an update ") and line.endswith("MiB") for line in lines)
    (gradient,) = (line for line in lines if line.startswith("all-reduce "))
    assert gradient.endswith(" times, 0.1 MiB in all")
    assert not list(tmp_path.iterdir())
