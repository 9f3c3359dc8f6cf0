"""What a run starts from: which of several starting points counts, what is said of it, and that
nothing of another run is touched."""

import os
import shutil
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from coordinator import Client
from jax._src import distributed as jax_distributed
from tiny_runs import NUM_STEPS, config_in, load, one_device

from bigjax.checkpoints.save import Checkpoints
from bigjax.engine import build, sharding
from bigjax.engine.state import TrainState
from bigjax.errors import ProcessGone, UserError
from bigjax.loop import starting_points
from bigjax.methods.given import with_start


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        return build.build(load(config_in(tmp_path_factory.mktemp("config"))))


@pytest.fixture(scope="module")
def fresh(built) -> TrainState:
    """The state before the first update, of random parameters."""
    state, source = starting_points.new_state(built)
    assert source == "random"
    return state


def filled(state: TrainState, *, step: int) -> TrainState:
    """Its parameters are all `step`, so that one sees whose they are."""
    number = jax.numpy.asarray(step, state.step.dtype)
    return state._replace(
        step=jax.device_put(number, state.step.sharding),
        params=jax.tree.map(lambda x: jax.numpy.full_like(x, step), state.params),
    )


def save(workdir: Path, state: TrainState, *, steps) -> Path:
    workdir.mkdir()
    checkpoints = open_in(workdir)
    for step in steps:
        checkpoints.save(filled(state, step=step), step=step, facts={"best_step": step}, score=None)
    checkpoints.close()
    return workdir


def open_in(workdir: Path) -> Checkpoints:
    return Checkpoints(str(workdir), keep_latest=2, keep_best=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, fresh) -> dict[str, Path]:
    """Three runs, not to be written to: one to go on with and two to start from."""
    folder = tmp_path_factory.mktemp("runs")
    steps = {"own": (3,), "other": (4, 5), "given": (7,)}
    made = {name: save(folder / name, fresh, steps=at) for name, at in steps.items()}
    (made["given"] / "classes.txt").write_text("\n".join("0123456789") + "\n")
    return made


def begin(built: build.Setup, workdir: Path, **init: Path) -> starting_points.Start:
    """With the settings `init.*` that are given."""
    values = built.config.values | {
        "init": built.config.values["init"] | {k: str(v) for k, v in init.items()}
    }
    checkpoints = open_in(workdir)
    try:
        config = built.config._replace(values=values)
        task = with_start(built.task, config)
        return starting_points.begin(built._replace(config=config, task=task), checkpoints)
    finally:
        checkpoints.close()


def assert_filled(state: TrainState, value: float) -> None:
    for x in jax.tree.leaves(jax.device_get(state.params)):
        np.testing.assert_array_equal(x, np.full_like(x, value))


# --- precedence -----------------------------------------------------------------------------------


def test_the_runs_own_checkpoint_comes_before_all_else(built, runs, tmp_path, capsys):
    workdir = Path(shutil.copytree(runs["own"], tmp_path / "own"))
    found = begin(built, workdir, resume_from=runs["other"], checkpoint=runs["given"])
    assert found.restored and int(found.state.step) == 3
    assert found.facts == {"best_step": 3} and found.source is None
    assert_filled(found.state, 3)
    assert capsys.readouterr().out.startswith(f"resuming at step 3 of {NUM_STEPS}; ")


def test_another_runs_state_comes_before_given_parameters(built, runs, tmp_path, capsys):
    found = begin(built, tmp_path, resume_from=runs["other"], checkpoint=runs["given"])
    assert not found.restored and int(found.state.step) == 5
    assert found.facts == starting_points.NO_FACTS  # what was best there is not best here
    assert found.source == f"the state of {runs['other']}"
    assert_filled(found.state, 5)
    said = capsys.readouterr().out
    assert said.startswith(f"starting from the state of {runs['other']}, at step 5; ")


def test_given_parameters_come_before_random_ones(built, fresh, runs, tmp_path, capsys):
    found = begin(built, tmp_path, checkpoint=runs["given"])
    assert not found.restored and int(found.state.step) == 0
    assert found.source == f"{runs['given']} (step 7)"
    assert_filled(found.state, 7)
    for x, y in zip(*(jax.tree.leaves(s.opt_state) for s in (found.state, fresh)), strict=True):
        np.testing.assert_array_equal(x, y)
    num = len(jax.tree.leaves(fresh.params))
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"init.checkpoint={runs['given']} (step 7): {num} of {num} arrays matched"
    assert second.startswith(f"starting from {runs['given']} (step 7) parameters; ")


def test_without_any_parameters_are_random_and_those_of_the_seed(built, fresh, tmp_path, capsys):
    found = begin(built, tmp_path)
    assert not found.restored and int(found.state.step) == 0 and found.source == "random"
    for x, y in zip(jax.tree.leaves(found.state), jax.tree.leaves(fresh), strict=True):
        np.testing.assert_array_equal(x, y)
    assert capsys.readouterr().out.startswith("starting from random parameters; ")


# --- another run ----------------------------------------------------------------------------------


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_where_the_newest_of_another_run_is_damaged_the_one_before_is_used_and_nothing_touched(
    built, runs, tmp_path, capsys
):
    other, workdir = Path(shutil.copytree(runs["other"], tmp_path / "other")), tmp_path / "own"
    workdir.mkdir()
    next((other / "checkpoints" / "5").rglob("d/*")).write_bytes(b"damaged")
    before = contents(other)
    found = begin(built, workdir, resume_from=other)
    assert int(found.state.step) == 4
    assert_filled(found.state, 4)
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: checkpoint 5 in {other}/checkpoints is damaged: ")
    assert "trying the one before" in warning
    assert contents(other) == before
    assert os.listdir(workdir) == []


@pytest.mark.parametrize("init", ["resume_from", "checkpoint"])
def test_a_folder_that_is_no_run_is_one_line(built, tmp_path, init):
    with pytest.raises(UserError) as error:
        begin(built, tmp_path, **{init: tmp_path / "nothing"})
    assert str(tmp_path / "nothing") in str(error.value) and "\n" not in str(error.value)


# --- several processes ----------------------------------------------------------------------------


@pytest.fixture
def other_process(monkeypatch) -> Client:
    """What the second of two processes says, of which this is the first."""
    client = Client(echoes=True)
    state = types.SimpleNamespace(client=client, num_processes=2, process_id=0)
    monkeypatch.setattr(jax_distributed, "global_state", state)
    return client


@pytest.mark.parametrize(
    ("what", "said", "problem"),
    [
        ("checkpoints", '{"the steps of its checkpoints": []}', "the steps of its checkpoints: []"),
        ("start", '{"the step it starts at": 2}', "the step it starts at: 2 and 3; check that all"),
    ],
    ids=["not there", "damaged there"],
)
def test_a_process_that_sees_other_checkpoints_is_named(
    built, runs, tmp_path, other_process, what, said, problem
):
    workdir = Path(shutil.copytree(runs["own"], tmp_path / "own"))
    assert int(begin(built, workdir).state.step) == 3
    other_process.said.clear()
    other_process.said[f"bigjax/facts/{what}/1"] = said
    with pytest.raises(ProcessGone, match="process 1 differs from process 0 in") as error:
        begin(built, workdir)
    assert problem in str(error.value) and error.value.exit_code == 76
