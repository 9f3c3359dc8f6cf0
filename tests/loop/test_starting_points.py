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
        return starting_points.begin(
            built._replace(config=built.config._replace(values=values)), checkpoints
        )
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


# --- parameters by name and shape -----------------------------------------------------------------


def shapes(**leaves: tuple[int, ...]) -> dict:
    return {"params": {k: jax.ShapeDtypeStruct(shape, np.float32) for k, shape in leaves.items()}}


def arrays(**leaves: tuple[int, ...]) -> dict:
    return {"params": {k: np.ones(shape, np.float32) for k, shape in leaves.items()}}


def test_what_matched_is_taken_and_what_is_missing_or_dropped_is_said():
    variables = arrays(body=(2, 3), head=(3, 5), extra=(4,))
    wanted = shapes(body=(2, 3), head=(3, 7))
    found, report = starting_points.match(variables, wanted=wanted, source="there")
    assert found == {"params": {"body": variables["params"]["body"], "head": None}}
    assert report == (
        "init.checkpoint=there: 1 of 2 arrays matched; 1 missing, which start at random "
        "(params/head); 2 dropped (params/extra (4,), params/head (3, 5))"
    )


def test_what_else_is_to_be_said_ends_the_line():
    _, report = starting_points.match(
        arrays(body=(2,)), wanted=shapes(body=(2,)), source="there", note="its head is not taken"
    )
    assert report == "init.checkpoint=there: 1 of 1 arrays matched; its head is not taken"


def test_a_long_list_is_cut_to_its_first_three():
    names = {f"layer_{i}": (1,) for i in range(5)}
    _, report = starting_points.match(
        arrays(body=(2,), **names), wanted=shapes(body=(2,)), source="there"
    )
    dropped = "params/layer_0 (1,), params/layer_1 (1,), params/layer_2 (1,) and 2 more"
    assert report == f"init.checkpoint=there: 1 of 1 arrays matched; 5 dropped ({dropped})"


@pytest.mark.parametrize(("there", "num"), [({"a": (2,)}, "none"), ({"b": (2,)}, "1")])
def test_where_less_than_half_matches_one_line_says_what_there_is_and_what_is_missing(there, num):
    """An encoder that would mostly start at random is not the one that was asked for."""
    wanted = shapes(a=(3,), b=(2,), c=(1,))
    with pytest.raises(UserError) as error:
        starting_points.match(arrays(**there), wanted=wanted, source="there")
    assert str(error.value).startswith(
        f"init.checkpoint=there: {num} of its 1 arrays has the name and shape of one of this "
        "model's 3; missing are params/a, "
    )
    assert f"it has params/{[*there][0]}; give a model" in str(error.value)
