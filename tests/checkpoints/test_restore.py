"""Reading checkpoints: of the right arrays, verified, whole or the parameters alone."""

import errno
import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import ROOT
from saved_states import assert_bitwise_equal, like, make_state, open_in, save_all

from bigjax.checkpoints import restore
from bigjax.checkpoints.manifest import DamagedCheckpoint
from bigjax.engine.state import TrainState
from bigjax.errors import UserError
from bigjax.models import origins
from bigjax.processes import distributed


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with checkpoint 1; not to be written to."""
    workdir = tmp_path_factory.mktemp("saved")
    save_all(workdir, {1: None})
    return workdir


def folder_of(workdir, step: int) -> str:
    return str(workdir / "checkpoints" / str(step))


def assert_refused(workdir, *, wanted: TrainState, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        restore.read_state(folder_of(workdir, 1), like=wanted)
    assert not isinstance(error.value, DamagedCheckpoint)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("checkpoint 1 in ")
    assert "use the config it was made with, or another --workdir" in str(error.value)


def test_a_checkpoint_of_other_shapes_is_an_error_that_names_a_parameter(saved):
    expected = r"params/a/kernel is float32 \(8, 8\) there and float32 \(8, 16\) here and 1 more"
    assert_refused(saved, wanted=like(make_state(1, width=16)), message=expected)


def test_a_checkpoint_of_another_dtype_is_an_error_too(saved):
    """Orbax would cast without a word."""
    wanted = like(make_state(1))
    whole = wanted._replace(step=wanted.step.update(dtype=jnp.uint32))
    assert_refused(saved, wanted=whole, message=r"step is int32 \(\) there and uint32 \(\) here;")


MISFITS = {
    "one leaf more": ("abc", r"params/c/bias is absent there and float32 \(8,\) here;"),
    "one leaf less": ("a", r"params/b/bias is float32 \(8,\) there and absent here;"),
    "another name": ("ac", r"params/c/bias is absent there and float32 \(8,\) here and 1 more"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_checkpoint_of_another_tree_is_an_error_that_names_a_parameter(saved, case):
    names, message = MISFITS[case]
    state = like(make_state(1))
    params = state.params | {"c": state.params["b"]}
    wanted = state._replace(params={name: params[name] for name in names})
    assert_refused(saved, wanted=wanted, message=message)


def test_content_that_whole_files_do_not_account_for_names_the_array(saved, monkeypatch):
    """As if a bit had flipped in memory: while it was written, or now."""
    original = ocp.Checkpointer.restore

    def with_a_flipped_bit(*args, **kwargs):
        state = original(*args, **kwargs)
        bias = np.asarray(state.params["b"]["bias"]).copy()
        bias.view(np.uint32)[3] ^= 1
        return state._replace(params=state.params | {"b": {"bias": jnp.asarray(bias)}})

    monkeypatch.setattr(ocp.Checkpointer, "restore", with_a_flipped_bit)
    expected = "is damaged: params/b/bias is read with other content than was saved; use another"
    with pytest.raises(DamagedCheckpoint, match=expected):
        restore.read_state(folder_of(saved, 1), like=like(make_state(1)))


@pytest.mark.parametrize("name", ["checkpoint.json", "state/_METADATA"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_may_not_be_read_is_no_damage_but_what_the_disk_has_lost_is(
    saved, monkeypatch, name, number
):
    path, original = os.path.join(folder_of(saved, 1), name), open

    def fail(opened, *args, **kwargs):
        if opened == path:
            raise OSError(number, os.strerror(number), path)
        return original(opened, *args, **kwargs)

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(UserError, match=rf"{name}:? cannot be read \({os.strerror(number)}\)") as e:
        restore.read_state(folder_of(saved, 1), like=like(make_state(1)))
    assert isinstance(e.value, DamagedCheckpoint) == (number == errno.EIO)


# --- parameters alone -----------------------------------------------------------------------------


def with_more(state: TrainState) -> TrainState:
    """With averaged parameters and batch statistics, in other numbers than the parameters."""
    ema = jax.tree.map(lambda x: x + 1, state.params)
    return state._replace(ema=ema, model_state={"batch_stats": {"n": {"mean": jnp.arange(4.0)}}})


def save(workdir, states: dict[int, tuple[TrainState, float | None]]) -> None:
    checkpoints = open_in(workdir, keep_latest=9)
    for step, (state, score) in states.items():
        checkpoints.save(state, step=step, facts={}, score=score)
    checkpoints.close()


def assert_host_equal(found, expected) -> None:
    assert all(type(x) is np.ndarray for x in jax.tree.leaves(found))
    assert_bitwise_equal(found, jax.device_get(expected))


def test_parameters_are_read_without_the_config(saved):
    params, model_state, step = restore.read_params(str(saved))
    assert_host_equal(params, make_state(1).params)
    assert (model_state, step) == ({}, 1)


@pytest.mark.parametrize("mesh", ["one", "data=8"])
def test_averaged_parameters_are_preferred_and_statistics_come_along(tmp_path, mesh):
    state = with_more(make_state(1, mesh=mesh))
    save(tmp_path, {1: (state, None)})
    params, model_state, _ = restore.read_params(str(tmp_path))
    assert_host_equal(params, state.ema)
    assert_host_equal(model_state, state.model_state)


def test_parameters_of_any_dtype_are_read(tmp_path):
    state = make_state(1)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), state.params)
    save(tmp_path, {1: (state._replace(params=half), None)})
    assert_host_equal(restore.read_params(str(tmp_path))[0], half)


CHOSEN = {
    "the best": ({1: 0.1, 2: 0.9, 3: 0.5}, 2),
    "of equal ones the earlier": ({1: 0.1, 2: 0.9, 3: 0.9}, 2),
    "the latest without a score": ({2: None, 10: None}, 10),
    "the best of those with a score": ({1: -5.0, 2: None}, 1),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_of_a_run_is_read(tmp_path, case):
    scores, expected = CHOSEN[case]
    save(tmp_path, {step: (make_state(step), score) for step, score in scores.items()})
    assert restore.read_params(str(tmp_path))[2] == expected
    one = min(scores)
    params, _, step = restore.read_params(folder_of(tmp_path, one))
    assert step == one
    assert_host_equal(params, make_state(one).params)


def test_parameters_of_a_damaged_checkpoint_are_refused_and_it_stays_as_it_is(tmp_path):
    save_all(tmp_path, {1: None})
    (tmp_path / "checkpoints" / "1" / "state" / "_METADATA").write_bytes(b"")
    with pytest.raises(DamagedCheckpoint, match=r"state/_METADATA is truncated \(0 of "):
        restore.read_params(str(tmp_path))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]


@pytest.mark.parametrize("inside", [None, "checkpoints", "elsewhere"])
def test_a_folder_without_checkpoints_is_an_error_of_one_line(tmp_path, inside):
    folder = tmp_path / "run"
    if inside == "checkpoints":
        (folder / "checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match=r"run(/checkpoints)?: no (such )?checkpoint; ") as error:
        restore.read_params(str(folder))
    assert "\n" not in str(error.value)


# --- another run's --------------------------------------------------------------------------------


def test_a_path_is_that_of_a_run_of_a_checkpoint_or_of_neither(saved, tmp_path):
    assert origins.run_of(str(saved)) == str(saved)
    assert origins.run_of(folder_of(saved, 1) + "/") == str(saved)
    assert origins.run_of(str(saved / "checkpoints" / "1" / "state")) is None
    assert origins.run_of(str(tmp_path)) is None


def test_of_another_run_the_newest_whole_state_is_read_and_nothing_is_touched(tmp_path, capsys):
    save(tmp_path, {step: (make_state(step), None) for step in (1, 2, 10)})
    (tmp_path / "checkpoints" / "10" / "checkpoint.json").unlink()
    state, _ = restore.read_newest(str(tmp_path), like=like(make_state(2)))
    assert_bitwise_equal(state, make_state(2))
    assert "checkpoint.json is missing" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["1", "10", "2"]
    state, _ = restore.read_newest(folder_of(tmp_path, 1), like=like(make_state(1)))
    assert_bitwise_equal(state, make_state(1))
    with pytest.raises(DamagedCheckpoint):
        restore.read_newest(folder_of(tmp_path, 10), like=like(make_state(1)))


def test_the_largest_difference_of_two_checkpoints_names_its_parameter(tmp_path):
    state = make_state(1)
    ones = jax.tree.map(jnp.ones_like, state.params)
    moved = {"a": {"kernel": ones["a"]["kernel"] + 0.125}, "b": {"bias": ones["b"]["bias"] - 0.25}}
    save(
        tmp_path, {1: (state._replace(params=ones), None), 2: (state._replace(params=moved), None)}
    )
    found = restore.largest_difference(folder_of(tmp_path, 1), folder_of(tmp_path, 2))
    assert found == "the largest difference of a parameter is 0.25, in b/bias"


# --- several processes ----------------------------------------------------------------------------


def test_each_of_several_processes_hashes_its_share_of_the_files(saved, monkeypatch):
    hashed = [set(), set(), set()]
    for number, names in enumerate(hashed):
        monkeypatch.setattr(distributed, "num_processes", lambda: 3)
        monkeypatch.setattr(distributed, "number", lambda number=number: number)
        monkeypatch.setattr(distributed, "exchange", lambda value, *, what: [value])  # noqa: ARG005
        monkeypatch.setattr(
            restore, "check_files", lambda _, *, expected, names=names: names.update(expected)
        )
        restore.read_params(folder_of(saved, 1))
    expected = restore.manifest.read(folder_of(saved, 1)).files
    assert set.union(*hashed) == set(expected)
    assert sum(map(len, hashed)) == len(expected)


# Of two processes the second alone finds that one checkpoint has other bytes than were saved and
# another no manifest; then, saving, that the manifest of the third is damaged.
ONE_ALONE = """
import json, pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from bigjax.checkpoints import manifest, restore, save
from bigjax.engine import sharding

def state(step):
    whole = NamedSharding(Mesh(np.array(jax.devices()), "d"), PartitionSpec())
    return {{"x": jax.make_array_from_callback((4,), whole, lambda i: np.full(4, step)[i])}}

checkpoints = save.Checkpoints(sys.argv[3], keep_latest=5, keep_best=0)
for step in (1, 2, 3):
    checkpoints.save(state(step), step=step, facts={{}}, score=None)
checkpoints.wait()
check_files, read = restore.check_files, manifest.read
damaged = {{"2"}}

def other_bytes(folder, *, expected):
    if folder.endswith("/3"):
        return ["x has other bytes"]
    return check_files(folder, expected=expected)

def no_manifest(folder):
    if folder.rpartition("/")[2] in damaged:
        raise manifest.DamagedCheckpoint(folder, problem="no manifest")
    return read(folder)

if jax.process_index() == 1:
    restore.check_files, manifest.read = other_bytes, no_manifest
    restore.agreed.__kwdefaults__["look"] = no_manifest
like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state(0))
found, _, messages = checkpoints.restore_newest(like=like)
damaged.add("1")
checkpoints.save(state(1), step=1, facts={{}}, score=None)
checkpoints.close()
print(json.dumps([found["x"].addressable_data(0).tolist(), messages]))
"""


def test_what_one_process_alone_finds_damaged_no_process_uses(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = ONE_ALONE.format(root=str(ROOT), tests=str(ROOT / "tests"))
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, address, str(number), str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        ended = [child.communicate(timeout=240) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], ended
    first, other = (json.loads(out.splitlines()[-1]) for out, _ in ended)
    assert first == other
    numbers, messages = first
    assert numbers == [1, 1, 1, 1]
    assert [message.partition("; ")[0] for message in messages] == [
        "checkpoint 3 is damaged: x has other bytes, as process 1 sees it",
        "checkpoint 2 is damaged: no manifest, as process 1 sees it",
    ]
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [
        "1", "1.damaged", "2.damaged", "3.damaged",
    ]  # fmt: skip
