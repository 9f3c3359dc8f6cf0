"""Owns small jobs that classify digits: their settings, programs and updates."""

from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT
from jax.sharding import Mesh

from bigjax.config import values as configs
from bigjax.data.images import decoding, image_sources
from bigjax.engine import build, settings, sharding
from bigjax.loop import starting_points

DIGITS = ROOT / "configs" / "cnn_digits.py"
SMALL = {"data.num_dev": "25", "data.num_test": "1572", "batch.rows": "30"}  # 200 to train on
MIXED = {"augment.mixup_alpha": "0.4", "augment.cutmix_alpha": "1"}


def load(overrides=(), *, file: Path = DIGITS) -> configs.Config:
    given = SMALL | dict(overrides)
    return configs.load(str(file), overrides=given, schema=settings.schema)


def mesh_of(num_devices: int) -> Mesh:
    devices = np.array(jax.devices()[:num_devices]).reshape(num_devices, 1, 1)
    return Mesh(devices, sharding.AXES)


def assert_bitwise_equal(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def skewed(*, num_dev: int = 25, num_test: int = 1572, seed: int = 0) -> image_sources.Splits:
    """The digits 0 to 6, of which in training the higher ones are rare."""
    splits = image_sources.digits(num_dev=num_dev, num_test=num_test, seed=seed)

    def pick(split: str, labels: np.ndarray) -> decoding.Images:
        place = np.arange(len(labels))
        kept = (labels < 7) & ((split != "train") | (place % (labels + 1) == 0))
        ids = np.flatnonzero(kept)
        pixels = splits[split].pixels(ids)
        return decoding.in_memory(pixels, labels=labels[ids], class_names="0123456", where=split)

    return {split: pick(split, found.labels) for split, found in splits.items()}


def built(overrides=(), *, file: Path = DIGITS, num_devices: int = 1) -> build.Setup:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", lambda spec: mesh_of(num_devices))  # noqa: ARG005
        return build.build(load(overrides, file=file))


def updates(run: build.Setup, *, num_steps: int):
    """The state after some updates, and the loss of each."""
    state, _ = starting_points.new_state(run)
    losses = []
    for number in range(num_steps):
        state, scalars = run.train_step(state, run.put(range(number, number + 1)))
        losses.append(float(scalars["loss"]))
    return state, losses
