"""Weights in 8 bits: rounding beside its bound, and a run in use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finished import WORDS

import bigjax
from bigjax.engine.sharding import put_batch
from bigjax.errors import UserError
from bigjax.inference import predictor
from bigjax.methods import int8
from bigjax.trees import flatten


def test_weights_come_back_within_half_a_step_of_their_scale():
    rng = np.random.default_rng(0)
    params = {
        "word": {"embedding": rng.normal(size=(9, 4)).astype(np.float32)},
        "layers": {"up": {"kernel": rng.normal(size=(3, 4, 5)).astype(np.float32)}},
        "head": {"kernel": np.zeros((4, 2), np.float32), "bias": np.ones(2, np.float32)},
    }
    small = jax.jit(int8.quantized)(params)
    leaves = flatten(small)
    assert leaves["word/embedding/scale"].shape == (9, 1)
    assert leaves["layers/up/kernel/scale"].shape == (3, 1, 5)
    assert leaves["layers/up/kernel/int8"].dtype == jnp.int8
    assert int(jnp.abs(leaves["layers/up/kernel/int8"]).max()) == 127
    again = flatten(int8.dequantized(small))
    assert sorted(again) == sorted(flatten(params))
    for name, x in flatten(params).items():
        limit = leaves.get(f"{name}/scale", np.zeros(1)) / 2 * 1.0001
        assert (np.abs(again[name] - x) <= limit).all(), name


def test_a_finished_run_answers_with_weights_in_8_bits(finished_run):
    folder, config, _ = finished_run
    whole = bigjax.load(str(folder))
    small = predictor.load(str(folder), overrides={"quantize.weights": "int8"})
    kept = flatten(small.members[0].variables["params"])
    assert kept["encoder/layer_0/up/kernel/int8"].dtype == jnp.int8
    assert small.identity != whole.identity
    found, expected = (logits_of(model) for model in (small, whole))
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    assert (found != expected).any()
    assert small([list(WORDS)])[0]["tags"]
    values = config.values | {"quantize": {"weights": "int8"}}
    with pytest.raises(UserError, match="quantize.weights: is of a finished model"):
        int8.refuse_in_training(config._replace(values=values))


def logits_of(model: predictor.Predictor) -> np.ndarray:
    rows = model.task.use.encode([model.task.use.prepare(list(WORDS))]).rows
    (member,) = model.members
    batch = put_batch(rows, step=0, mesh=model.mesh, num_rows=8)
    return np.asarray(member.apply(member.variables, member.frozen, batch)["logits"])
