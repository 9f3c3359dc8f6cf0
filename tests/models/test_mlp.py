"""The networks of tables against numpy, and what their layers make of categories."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigjax.models import mlp, ops

CODES = (3, 14)
BATCH = 6


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal((BATCH, 4)).astype(np.float32)
    return numbers, rng.integers(0, CODES, (BATCH, 2)).astype(np.int32)


def made(network, *, seed=0):
    module = network(outputs=2, num_codes=CODES)
    rest = {"mask_B": jnp.ones(BATCH, bool), "dropout": ops.NO_DROPOUT}
    init = jax.jit(lambda key: module.init(key, *inputs(), **rest))
    call = jax.jit(functools.partial(module.apply, **rest))
    return module, nn.meta.unbox(init(jax.random.key(seed))), call


def test_a_linear_network_is_a_weighted_sum_of_numbers_and_of_ones_for_categories():
    _, variables, call = made(mlp.linear())
    head = variables["params"]["head"]
    assert not np.any(head["kernel"]), "it begins at zero"
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal(head["kernel"].shape).astype(np.float32)
    numbers, codes = inputs()
    ones = [np.eye(num)[codes[:, i]] for i, num in enumerate(CODES)]
    expected = np.concatenate([numbers, *ones], 1) @ kernel + 0.5
    params = {"head": {"kernel": kernel, "bias": jnp.full(2, 0.5)}}
    np.testing.assert_allclose(call({"params": params}, numbers, codes), expected, atol=1e-5)


def test_an_mlp_is_what_numpy_makes_of_its_parameters():
    _, variables, call = made(mlp.mlp(widths=(5, 3), one_hot_up_to=10))
    params = jax.tree.map(np.asarray, variables["params"])
    numbers, codes = inputs()
    embedded = params["inputs"]["embed_1"]["embedding"][codes[:, 1]]
    x = np.concatenate([numbers, np.eye(3)[codes[:, 0]], embedded], 1)
    assert embedded.shape == (BATCH, round(1.6 * 14**0.56))
    for name in ("hidden_0", "hidden_1"):
        x = np.maximum(x @ params[name]["kernel"] + params[name]["bias"], 0)
    expected = x @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(call(variables, numbers, codes), expected, atol=1e-5)


NETWORKS = [
    mlp.mlp(widths=(8, 8), batch_norm=True),
    mlp.residual_mlp(width=8, num_blocks=2, dropout=0.0),
]


@pytest.mark.parametrize("network", NETWORKS)
def test_batch_normalisation_takes_the_rows_that_exist_alone(network):
    module, variables, _ = made(network)
    numbers, codes = inputs()
    dropout = ops.Dropout(jnp.uint32(0), jnp.arange(BATCH))

    @jax.jit
    def train(numbers, codes, mask):
        num = len(mask)
        dropout_ = dropout._replace(rows_B=jnp.arange(num))
        return module.apply(
            variables, numbers, codes, mask_B=mask, dropout=dropout_, mutable=["batch_stats"]
        )

    whole, state = train(numbers, codes, jnp.ones(BATCH, bool))
    padded, state_padded = train(
        np.concatenate([numbers, np.full((2, 4), 9, np.float32)]),
        np.concatenate([codes, np.zeros((2, 2), np.int32)]),
        jnp.arange(BATCH + 2) < BATCH,
    )
    np.testing.assert_allclose(padded[:BATCH], whole, atol=1e-5)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(state_padded), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_dropout_takes_features_away_in_training_alone():
    module, variables, call = made(mlp.mlp(widths=(64,), dropout=0.5))
    numbers, codes = inputs()
    rows = jnp.arange(BATCH)

    @jax.jit
    @jax.vmap
    def draw(seed):
        dropout = ops.Dropout(seed, rows)
        return module.apply(
            variables, numbers, codes, mask_B=jnp.ones(BATCH, bool), dropout=dropout
        )

    drawn = draw(jnp.arange(200, dtype=jnp.uint32))
    assert not np.allclose(drawn[0], drawn[1])
    np.testing.assert_allclose(drawn.mean(0), call(variables, numbers, codes), atol=0.25)
