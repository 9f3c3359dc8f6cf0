"""Saving and restoring with Orbax: bitwise, on any mesh, and which steps are kept."""

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from bigjax import sharding
from bigjax.checkpoint import Checkpoints, abstract
from bigjax.errors import UserError
from bigjax.state import TrainState

WHOLE = P()
FACTS = {"best_score": None, "best_step": None, "without_better": 0}


class Moments(NamedTuple):
    count: Any
    mean: Any


def make_state(step: int, *, width: int = 8, mesh: str = "data=8", axes=WHOLE) -> TrainState:
    """Numbers that differ from step to step, down to the smallest and to nan, on a mesh."""
    rng = np.random.default_rng(step)
    kernel = rng.standard_normal((8, width)).astype(np.float32)
    kernel[0, :4] = [np.nan, np.inf, -0.0, 1e-45]
    params = {"a": {"kernel": kernel}, "b": {"bias": np.arange(8, dtype=np.float32) + step}}
    half = {"a": {"kernel": kernel.astype(jnp.bfloat16)}, "b": {"bias": params["b"]["bias"]}}
    state = TrainState(np.int32(step), params, {}, (Moments(np.int32(step), half),), None)
    place = NamedSharding(sharding.make_mesh(mesh), axes)
    whole = NamedSharding(place.mesh, WHOLE)
    return jax.tree.map(
        lambda x: jax.device_put(jnp.asarray(x), place if np.ndim(x) == 2 else whole), state
    )


def like(state: TrainState):
    return abstract(state, jax.tree.map(lambda x: x.sharding, state))


def open_in(workdir, *, keep_latest: int = 1, keep_best: int = 1) -> Checkpoints:
    return Checkpoints(str(workdir), keep_latest=keep_latest, keep_best=keep_best)


def steps_in(workdir) -> list[int]:
    return sorted(int(name) for name in os.listdir(workdir / "checkpoints"))


def assert_bitwise_equal(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def save_all(checkpoints: Checkpoints, scores: dict[int, float | None]) -> None:
    for step, score in scores.items():
        checkpoints.save(make_state(step), step=step, facts=FACTS, score=score)
    checkpoints.wait()


# --- restoring ------------------------------------------------------------------------------------


def test_what_is_restored_is_bitwise_what_was_saved(tmp_path):
    state, facts = make_state(7), {"best_score": 0.123456789, "best_step": 5, "without_better": 2}
    first = open_in(tmp_path)
    first.save(state, step=7, facts=facts, score=0.5)
    first.close()
    second = open_in(tmp_path)
    assert second.latest() == 7
    restored, found = second.restore(7, like=like(state))
    second.close()
    assert_bitwise_equal(restored, state)
    assert found == facts


@pytest.mark.parametrize(
    ("mesh", "axes"), [("data=2,fsdp=4", P("fsdp")), ("fsdp=2,tensor=4", P("fsdp", "tensor"))]
)
def test_a_state_is_restored_straight_onto_another_mesh(tmp_path, mesh, axes):
    saved = make_state(3, mesh="fsdp=8", axes=P("fsdp"))
    checkpoints = open_in(tmp_path)
    checkpoints.save(saved, step=3, facts=FACTS, score=None)
    wanted = make_state(3, mesh=mesh, axes=axes)
    restored, _ = checkpoints.restore(3, like=like(wanted))
    checkpoints.close()
    assert_bitwise_equal(restored, saved)
    for found, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted)):
        assert found.sharding == expected.sharding


def test_a_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    """The next update overwrites it while the files are still being written."""
    expected, state = make_state(1), make_state(1)
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    checkpoints = open_in(tmp_path)
    checkpoints.save(state, step=1, facts=FACTS, score=None)
    overwritten = jax.block_until_ready(overwrite(state))
    restored, _ = checkpoints.restore(1, like=like(expected))
    checkpoints.close()
    assert_bitwise_equal(restored, expected)
    assert int(overwritten.step) == -1


def assert_refused(workdir, *, wanted: TrainState, message: str) -> None:
    checkpoints = open_in(workdir)
    save_all(checkpoints, {1: None})
    with pytest.raises(UserError, match=message) as error:
        checkpoints.restore(1, like=wanted)
    checkpoints.close()
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("checkpoint 1 in ")
    assert "use the config it was made with, or another --workdir" in str(error.value)


def test_a_checkpoint_of_other_shapes_is_an_error_that_names_a_parameter(tmp_path):
    expected = r"params/a/kernel is float32 \(8, 8\) there and float32 \(8, 16\) here and 1 more"
    assert_refused(tmp_path, wanted=like(make_state(1, width=16)), message=expected)


MISFITS = {
    "one leaf more": ("abc", r"params/c/bias is absent there and float32 \(8,\) here;"),
    "one leaf less": ("a", r"params/b/bias is float32 \(8,\) there and absent here;"),
    "another name": ("ac", r"params/c/bias is absent there and float32 \(8,\) here and 1 more"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_checkpoint_of_another_tree_is_an_error_that_names_a_parameter(tmp_path, case):
    names, message = MISFITS[case]
    state = like(make_state(1))
    params = state.params | {"c": state.params["b"]}
    wanted = state._replace(params={name: params[name] for name in names})
    assert_refused(tmp_path, wanted=wanted, message=message)


def damage_metadata(folder: Path) -> None:
    (folder / "state" / "_METADATA").unlink()


def damage_facts(folder: Path) -> None:
    shutil.rmtree(folder / "facts")


@pytest.mark.parametrize("damage", [damage_metadata, damage_facts])
def test_a_damaged_checkpoint_is_an_error_of_one_line(tmp_path, damage):
    first = open_in(tmp_path)
    save_all(first, {1: None})
    first.close()
    damage(tmp_path / "checkpoints" / "1")
    second = open_in(tmp_path)
    with pytest.raises(UserError, match=r"^checkpoint 1 in .* is damaged \(.*\); delete") as error:
        second.restore(1, like=like(make_state(1)))
    second.close()
    assert "\n" not in str(error.value)


def test_whatever_orbax_raises_is_an_error_of_one_line(tmp_path, monkeypatch):
    """A stand-in for arrays cut short: real ones end in reads that outlive the test."""

    def fail(*args, **kwargs):  # noqa: ARG001
        raise Exception("OUT_OF_RANGE: Error reading 0.0\nin the file\n" + 1000 * "x")

    checkpoints = open_in(tmp_path)
    save_all(checkpoints, {1: None})
    monkeypatch.setattr(ocp.CheckpointManager, "restore", fail)
    with pytest.raises(UserError, match=r"is damaged \(OUT_OF_RANGE: Error reading 0.0\)") as error:
        checkpoints.restore(1, like=like(make_state(1)))
    checkpoints.close()
    assert "\n" not in str(error.value)


# --- what is kept ---------------------------------------------------------------------------------


def test_without_any_checkpoint_there_is_no_latest(tmp_path):
    checkpoints = open_in(tmp_path)
    assert checkpoints.latest() is None
    checkpoints.close()


KEPT = {
    "the best and the latest": ({1: 0.1, 2: 0.9, 3: 0.3, 4: 0.2}, 1, 1, [2, 4]),
    "the latest may be the best": ({1: 0.1, 2: 0.2}, 1, 1, [2]),
    "of equal scores the earlier": ({1: 0.1, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.1}, 1, 1, [2, 5]),
    "several of each": ({1: 0.4, 2: 0.9, 3: 0.8, 4: 0.1, 5: 0.2, 6: 0.3}, 2, 2, [2, 3, 5, 6]),
    "without a score never the best": ({1: None, 2: 0.1, 3: None, 4: None}, 1, 1, [2, 4]),
    "the latest alone": ({1: 0.9, 2: 0.1, 3: 0.2}, 1, 0, [3]),
    "negative scores": ({1: -3.0, 2: -1.0, 3: -2.0}, 1, 1, [2, 3]),
}


@pytest.mark.parametrize("case", KEPT)
def test_kept_are(tmp_path, case):
    scores, keep_latest, keep_best, expected = KEPT[case]
    checkpoints = open_in(tmp_path, keep_latest=keep_latest, keep_best=keep_best)
    save_all(checkpoints, scores)
    checkpoints.close()
    assert steps_in(tmp_path) == expected


def test_the_best_of_before_is_still_kept_after_reopening(tmp_path):
    first = open_in(tmp_path)
    save_all(first, {1: 0.2, 2: 0.9, 3: 0.1})
    first.close()
    second = open_in(tmp_path)
    save_all(second, {4: 0.5, 5: 0.9, 6: None})
    second.close()
    assert steps_in(tmp_path) == [2, 6]


def test_a_better_one_after_reopening_takes_its_place(tmp_path):
    first = open_in(tmp_path)
    save_all(first, {1: 0.2, 2: 0.5})
    first.close()
    second = open_in(tmp_path)
    save_all(second, {3: 0.6, 4: 0.1})
    second.close()
    assert steps_in(tmp_path) == [3, 4]


def test_a_step_that_is_there_is_left_as_it_is(tmp_path):
    checkpoints = open_in(tmp_path)
    save_all(checkpoints, {1: 0.5})
    other = make_state(1)._replace(step=jnp.int32(99))
    checkpoints.save(other, step=1, facts=FACTS, score=0.1)
    checkpoints.wait()
    restored, _ = checkpoints.restore(1, like=like(make_state(1)))
    checkpoints.close()
    assert_bitwise_equal(restored, make_state(1))


def test_the_folder_of_a_save_that_was_cut_off_is_no_checkpoint(tmp_path):
    first = open_in(tmp_path)
    save_all(first, {1: 0.5})
    first.close()
    (tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp").mkdir()
    second = open_in(tmp_path)
    assert second.latest() == 1
    save_all(second, {2: 0.1})
    second.close()
    assert steps_in(tmp_path) == [1, 2]
