"""Owns small states to save, and what tests of checkpoints do with them."""

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bigjax.checkpoints.save import Checkpoints
from bigjax.engine import sharding
from bigjax.engine.sharding import abstract
from bigjax.engine.state import TrainState

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
    place = NamedSharding(make_mesh(mesh), axes)
    whole = NamedSharding(place.mesh, WHOLE)
    return jax.tree.map(
        lambda x: jax.device_put(jnp.asarray(x), place if np.ndim(x) == 2 else whole), state
    )


def make_mesh(spec: str) -> Mesh:
    """The mesh of a config, or that of one device alone."""
    if spec == "one":
        return Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), sharding.AXES)
    return sharding.make_mesh(spec)


def like(state: TrainState):
    return abstract(state, jax.tree.map(lambda x: x.sharding, state))


def open_in(workdir, *, keep_latest: int = 1, keep_best: int = 1) -> Checkpoints:
    return Checkpoints(str(workdir), keep_latest=keep_latest, keep_best=keep_best)


def names_in(workdir) -> list[str]:
    return sorted(os.listdir(workdir / "checkpoints"))


def assert_bitwise_equal(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def save_all(workdir, scores: dict[int, float | None], **kept: int) -> None:
    checkpoints = open_in(workdir, **kept)
    for step, score in scores.items():
        checkpoints.save(make_state(step), step=step, facts=FACTS, score=score)
    checkpoints.close()


def assert_newest(workdir, step: int) -> list[str]:
    """The newest whole checkpoint is that of a step, bitwise; returns the messages."""
    checkpoints = open_in(workdir)
    state, _, messages = checkpoints.restore_newest(like=like(make_state(step)))
    checkpoints.close()
    assert_bitwise_equal(state, make_state(step))
    return messages
