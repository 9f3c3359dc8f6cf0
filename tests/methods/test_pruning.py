"""Magnitude pruning: masks beside a sort, the schedule, and a run that stops and resumes."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_runs import NUM_STEPS, assert_same_run, config_in, load, one_device, train_in

from bigjax.checkpoints import restore
from bigjax.config.sections import Evaluation
from bigjax.engine import sharding
from bigjax.engine.build import build
from bigjax.errors import UserError
from bigjax.methods import pruning
from bigjax.methods.pruning import Pruning
from bigjax.trees import flatten

GIVEN = {"prune.sparsity": "0.75", "prune.every_steps": "4", "eval.final": "latest"}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_the_largest_weights_are_left(share):
    weights = np.random.default_rng(0).normal(size=(31, 17)).astype(np.float32)
    weights[:3] = 0
    found = np.asarray(jax.jit(pruning._largest)(weights, jnp.float32(share)))
    num_zero = max(int(np.float32(share) * weights.size), 51 if share else 0)
    order = np.argsort(np.abs(weights), axis=None, kind="stable")
    expected = np.ones(weights.size, bool)
    expected[order[:num_zero]] = False
    np.testing.assert_array_equal(found, expected.reshape(weights.shape))


def test_the_share_of_zeros_rises_to_its_end_and_stays():
    shares = pruning.schedule(Pruning(sparsity=0.8, begin=0.1, end=0.7), total_steps=200)
    assert (np.diff(shares) >= 0).all()
    assert (shares[:21] == 0).all() and shares[30] > 0
    assert shares[139] < np.float32(0.8) == shares[140] == shares[-1]
    by_hand = 0.8 * (1 - (1 - (60 - 20) / 120) ** 3)
    assert shares[60] == pytest.approx(by_hand) and shares[69] == shares[60]


def test_what_is_pruned_is_zero_after_every_update_and_the_rest_is_updated_as_ever():
    params = {"layer": {"kernel": jnp.arange(1.0, 9.0).reshape(2, 4), "bias": jnp.ones(4)}}
    chosen = {
        Pruning: Pruning(sparsity=0.5, begin=0, end=0.5, every_steps=1),
        Evaluation: Evaluation(final="latest"),
    }
    config = types.SimpleNamespace(of=chosen.__getitem__)
    tx, project = pruning.wrap(optax.identity(), params, config, total_steps=8)
    state, zeros = tx.init(params), []
    for _ in range(8):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = project(jax.tree.map(lambda p, u: p - 0.01 * u, params, updates), state)
        zeros.append(int((params["layer"]["kernel"] == 0).sum()))
    assert zeros == sorted(zeros) and zeros[-1] == 4
    left = np.asarray(params["layer"]["kernel"])
    assert (left[0] == 0).all()
    np.testing.assert_allclose(left[1], np.arange(5.0, 9.0) - 0.08, rtol=1e-5)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"eval.final": "best"}, "set eval.final=latest"),
        ({"prune.rules": "(('.*', 'keep'),)"}, "prune none of this run's parameters"),
        ({"prune.rules": "(('.*', 'prun'),)"}, "did you mean 'prune'"),
        ({"prune.begin": "0.8"}, "is after prune.end"),
    ],
)
def test_settings_that_cannot_be_are_told(more, problem, tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", one_device)
    with pytest.raises(UserError, match=problem):
        build(load(config_in(tmp_path), GIVEN | more))


def test_a_run_that_stopped_resumes_with_its_masks(tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    train_in(tmp_path / "whole" / "run", GIVEN)
    with pytest.raises(RuntimeError, match="enough"):
        train_in(tmp_path / "parts" / "run", GIVEN, progress=stop_at(9))
    train_in(tmp_path / "parts" / "run", GIVEN)
    assert_same_run(tmp_path / "parts" / "run", tmp_path / "whole" / "run")
    params, _, step = restore.read_params(
        str(tmp_path / "whole" / "run" / "checkpoints" / str(NUM_STEPS))
    )
    shares = {n: float((x == 0).mean()) for n, x in flatten(params).items() if n.endswith("kernel")}
    assert step == NUM_STEPS and shares["head/kernel"] < 0.1
    assert all(0.74 < share < 0.76 for name, share in shares.items() if name != "head/kernel")
    assert (
        json.loads((tmp_path / "whole" / "run" / "results.json").read_text())["step"] == NUM_STEPS
    )


def stop_at(step: int):
    def progress(now: int) -> None:
        if now >= step:
            raise RuntimeError("enough")

    return progress
