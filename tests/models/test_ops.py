"""Layers against plain float64 numpy; convolution and pooling against XLA's own; dropout against
the statistics of fair coins.

The bits of dropout are a pure function of (seed, place, row, position), so the statistical tests
look at fixed numbers: they pass or fail for good, with bounds that a fair coin exceeds once in
about ten million times (five standard deviations).
"""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bigjax.engine import step as steps
from bigjax.models import ops

SIGMAS = 5.0
TOLERANCE = 1e-5
SHAPE = (16, 4, 1000)  # rows first


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    """x as bfloat16 holds it, in float64."""
    return np.asarray(jnp.asarray(x, jnp.bfloat16), np.float64)


def dense(x, params, *, dtype):
    return ops.Dense(params["kernel"].shape[1], dtype=dtype).apply({"params": params}, x)


def dense_params() -> dict[str, jax.Array]:
    return {"kernel": jnp.asarray(normal(24, 7, seed=1)), "bias": jnp.asarray(normal(7, seed=2))}


def test_a_float32_product_equals_numpys():
    x, params = normal(3, 5, 24), dense_params()
    expected = x.astype(np.float64) @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(dense(x, params, dtype="float32"), expected, atol=TOLERANCE)


def test_a_bfloat16_product_rounds_its_operands_and_nothing_else():
    x, params = normal(3, 5, 24), dense_params()
    found = dense(x, params, dtype="bfloat16")
    expected = rounded(x) @ rounded(params["kernel"]) + np.asarray(params["bias"])
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def gradients(*, dtype: str):
    """Gradients of a weighted sum of the outputs, and those weights."""
    x, params, weights = jnp.asarray(normal(3, 5, 24)), dense_params(), normal(3, 5, 7, seed=3)
    loss = lambda x, params: (dense(x, params, dtype=dtype) * weights).sum()  # noqa: E731
    return jax.grad(loss, argnums=(0, 1))(x, params), x, params, weights.astype(np.float64)


def test_the_gradient_of_a_float32_product_equals_the_formula():
    (dx, dparams), x, params, weights = gradients(dtype="float32")
    np.testing.assert_allclose(dx, weights @ np.asarray(params["kernel"]).T, atol=TOLERANCE)
    kernel = np.einsum("bnd,bnf->df", np.asarray(x, np.float64), weights)
    np.testing.assert_allclose(dparams["kernel"], kernel, atol=TOLERANCE)
    np.testing.assert_allclose(dparams["bias"], weights.sum((0, 1)), atol=TOLERANCE)


def test_the_gradient_of_a_bfloat16_product_rounds_its_operands_and_nothing_else():
    (dx, dparams), x, params, weights = gradients(dtype="bfloat16")
    assert {dx.dtype, *(d.dtype for d in dparams.values())} == {jnp.dtype("float32")}
    np.testing.assert_allclose(dx, rounded(weights) @ rounded(params["kernel"]).T, atol=TOLERANCE)
    kernel = np.einsum("bnd,bnf->df", rounded(x), rounded(weights))
    np.testing.assert_allclose(dparams["kernel"], kernel, atol=TOLERANCE)
    np.testing.assert_allclose(dparams["bias"], weights.sum((0, 1)), atol=TOLERANCE)


def test_the_gradient_of_a_bfloat16_product_is_near_the_one_in_float32():
    """Each operand is off by at most 2^-9 of itself, each of the n terms by 2^-8."""
    (dx, dparams), x, params, weights = gradients(dtype="bfloat16")
    bound = np.abs(weights) @ np.abs(np.asarray(params["kernel"])).T / 2**8
    assert (np.abs(dx - weights @ np.asarray(params["kernel"]).T) <= bound + TOLERANCE).all()
    bound = np.einsum("bnd,bnf->df", np.abs(x), np.abs(weights)) / 2**8
    exact = np.einsum("bnd,bnf->df", x, weights)
    assert (np.abs(dparams["kernel"] - exact) <= bound + TOLERANCE).all()


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_layer_norm_equals_the_formula_far_from_zero_too(offset):
    x = normal(6, 48) + np.float32(offset)
    params = {"scale": normal(48, seed=1), "bias": normal(48, seed=2)}
    found = ops.LayerNorm(1e-12).apply({"params": params}, jnp.asarray(x))
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    expected = centred / wide.std(-1, keepdims=True) * params["scale"] + params["bias"]
    # At 1000 a sum in float32 leaves the mean off by 1e-4; E[x^2] - E[x]^2 would be off by 1e-1.
    np.testing.assert_allclose(found, expected, atol=TOLERANCE if offset == 0 else 1e-3)


def test_gelu_is_x_times_the_normal_distribution_function():
    x = np.linspace(-8, 8, 201, dtype=np.float32)
    expected = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.astype(float)]
    np.testing.assert_allclose(ops.gelu(jnp.asarray(x)), expected, atol=1e-6)


def test_embed_takes_rows_and_gives_their_gradient_to_them():
    ids, table = jnp.asarray([[3, 1], [3, 0]]), jnp.asarray(normal(5, 4))
    embed = lambda table: ops.Embed(5, 4).apply({"params": {"embedding": table}}, ids)  # noqa: E731
    np.testing.assert_array_equal(embed(table), np.asarray(table)[np.asarray(ids)])
    gradient = jax.grad(lambda table: embed(table).sum())(table)
    np.testing.assert_array_equal(gradient[:, 0], [1, 1, 0, 2, 0])


# --- convolution and pooling ----------------------------------------------------------------------

CONVOLUTIONS = [  # size, strides, padding
    (1, 1, 0),
    (1, 2, 1),
    (2, 1, 1),
    (2, 2, 0),
    (3, 1, 1),
    (3, 2, 0),
    (7, 2, 3),
]


def xla_conv(x, kernel, *, strides: int, padding: int):
    return lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


def conv_inputs(size: int) -> tuple[jax.Array, jax.Array]:
    """Images of odd and unequal sides, and a kernel that gives outputs of about 1."""
    kernel = normal(size, size, 5, 6, seed=1) / math.sqrt(5 * size**2)
    return jnp.asarray(normal(3, 9, 12, 5)), jnp.asarray(kernel)


def value_and_gradients(conv, x, kernel):
    """The output, and the gradients of its weighted mean over the places of an image."""

    def loss(x, kernel):
        y = conv(x, kernel)
        weights = normal(*y.shape, seed=2) / (y.shape[1] * y.shape[2])
        return (y * weights).sum(), y

    (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)
    return y, *gradients


@pytest.mark.parametrize(("size", "strides", "padding"), CONVOLUTIONS)
def test_a_convolution_by_matmul_equals_xlas_and_so_do_its_gradients(size, strides, padding):
    place = {"strides": strides, "padding": padding}
    by_matmul = lambda x, kernel: ops.conv_by_matmul(x, kernel, **place, dtype="float32")  # noqa: E731
    xlas = lambda x, kernel: xla_conv(x, kernel, **place)  # noqa: E731
    x, kernel = conv_inputs(size)
    for found, expected in zip(
        value_and_gradients(by_matmul, x, kernel), value_and_gradients(xlas, x, kernel)
    ):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_a_bfloat16_convolution_by_matmul_rounds_its_operands_and_nothing_else():
    x, kernel = conv_inputs(3)
    found = ops.conv_by_matmul(x, kernel, strides=1, padding=1, dtype="bfloat16")
    operands = (jnp.asarray(rounded(a), jnp.float32) for a in (x, kernel))
    assert found.dtype == jnp.float32
    expected = xla_conv(*operands, strides=1, padding=1)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_gradients_of_a_bfloat16_convolution_are_near_those_in_float32():
    x, kernel = conv_inputs(3)
    half, whole = (
        value_and_gradients(
            lambda x, kernel, dtype=dtype: ops.conv_by_matmul(
                x, kernel, strides=2, padding=1, dtype=dtype
            ),
            x,
            kernel,
        )
        for dtype in ("bfloat16", "float32")
    )
    for found, expected in zip(half[1:], whole[1:]):
        assert found.dtype == jnp.float32
        off = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert 0 < off < 2**-8  # each operand is off by 2^-9 of itself at most


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", TOLERANCE), ("bfloat16", 2**-6)])
def test_the_convolution_of_other_backends_is_the_same(monkeypatch, dtype, tolerance):
    x, kernel = conv_inputs(3)
    place = {"strides": 2, "padding": 1, "dtype": dtype}
    expected = ops.conv(x, kernel, **place)
    np.testing.assert_array_equal(expected, ops.conv_by_matmul(x, kernel, **place))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found = ops.conv(x, kernel, **place)
    assert found.dtype == expected.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7)])
def test_max_pool_equals_flaxs_and_so_does_its_gradient_after_relu(height, width):
    x = jnp.asarray(normal(3, height, width, 5))
    weights = normal(3, height // 2, width // 2, 5, seed=1)

    def gradient(pool):
        return jax.jit(jax.grad(lambda x: (pool(nn.relu(x)) * weights).sum()))(x)

    flaxs = lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))  # noqa: E731
    np.testing.assert_array_equal(ops.max_pool(x), flaxs(x))
    np.testing.assert_array_equal(gradient(ops.max_pool), gradient(flaxs))


# --- dropout --------------------------------------------------------------------------------------


def dropout(*, seed: int = 7, rows=None) -> ops.Dropout:
    rows = np.arange(SHAPE[0]) if rows is None else np.asarray(rows)
    return ops.Dropout(jnp.uint32(seed), jnp.asarray(rows, jnp.int32))


def mask(drop: ops.Dropout, *, rate: float = 0.5) -> np.ndarray:
    """Which elements of SHAPE are dropped."""
    shape = (len(drop.rows_B), *SHAPE[1:])
    return np.asarray(drop(jnp.ones(shape), rate=rate)) == 0


def assert_fair(dropped: np.ndarray, *, rate: float) -> None:
    bound = SIGMAS * math.sqrt(rate * (1 - rate) / dropped.size)
    assert abs(dropped.mean() - rate) < bound


def assert_independent(a: np.ndarray, b: np.ndarray) -> None:
    """By the correlation of two masks, which for fair coins has a deviation of 1 / sqrt(n)."""
    correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert abs(correlation) < SIGMAS / math.sqrt(a.size)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_the_rate_is_right(rate):
    for seed in (0, 1, 7, 2**31, 2**32 - 1):
        assert_fair(mask(dropout(seed=seed).at(0), rate=rate), rate=rate)


def test_every_row_and_every_position_has_the_rate():
    dropped = np.concatenate([mask(dropout(seed=seed).at(0), rate=0.1) for seed in range(8)])
    for axes in ((1, 2), (0, 2), (0, 1)):
        n = math.prod(dropped.shape[axis] for axis in axes)
        off = (dropped.mean(axes) - 0.1) / math.sqrt(0.09 / n)
        assert np.abs(off).max() < SIGMAS


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    x = jnp.asarray(1 + np.abs(normal(*SHAPE)))
    y = np.asarray(dropout()(x, rate=0.25))
    kept = y != 0
    np.testing.assert_allclose(y[kept], np.asarray(x)[kept] / 0.75, rtol=1e-6)
    deviation = math.sqrt(float((x**2).mean()) * (0.25 / 0.75) / x.size)
    assert abs(y.mean() - float(x.mean())) < SIGMAS * deviation


def test_the_gradient_passes_where_the_value_passed():
    ones = jnp.ones(SHAPE)
    y, pullback = jax.vjp(lambda x: dropout()(x, rate=0.3), ones)
    np.testing.assert_array_equal(pullback(ones)[0], y)


@pytest.mark.parametrize("drop", [ops.NO_DROPOUT, ops.NO_DROPOUT.at(1).site(2), dropout()])
def test_without_a_seed_or_a_rate_nothing_is_dropped(drop):
    x = jnp.ones(SHAPE)
    assert drop(x, rate=0.0 if drop.seed is not None else 0.5) is x


def test_bfloat16_stays_bfloat16():
    x = jnp.ones(SHAPE, jnp.bfloat16)
    assert dropout()(x, rate=0.5).dtype == jnp.bfloat16


def seeds_of_steps(num_steps: int) -> list[jax.Array]:
    """As the tasks draw them."""
    root = steps.stream(0, steps.DROPOUT_STREAM)
    keys = (jax.random.fold_in(root, step) for step in range(num_steps))
    return [jax.random.bits(key, dtype=jnp.uint32) for key in keys]


def test_masks_of_neighbouring_steps_are_independent():
    masks = [mask(dropout()._replace(seed=seed).at(0)) for seed in seeds_of_steps(6)]
    for a, b in itertools.combinations(masks, 2):
        assert_independent(a, b)


def test_masks_of_neighbouring_seeds_are_independent():
    for seed in (0, 12345, 2**31 - 1):
        a, b, c = (mask(dropout(seed=seed + i).at(0)) for i in range(3))
        assert_independent(a, b)
        assert_independent(b, c)


def test_masks_of_layers_and_sites_are_independent():
    places = [dropout().at(layer).site(site) for layer in range(4) for site in range(4)]
    places += [dropout().at(layer) for layer in range(4)]
    masks = [mask(place) for place in places]
    for a, b in itertools.combinations(masks, 2):
        assert_independent(a, b)


def test_rows_and_neighbouring_positions_are_independent():
    dropped = mask(dropout())
    for shift in (1, 2, 3, 4, 8, 16):
        assert_independent(dropped[:, :, shift:], dropped[:, :, :-shift])
    for shift in range(1, SHAPE[0]):
        assert_independent(dropped[shift:], dropped[:-shift])


def test_bits_of_eight_neighbours_take_all_256_patterns_alike():
    """Chi-square with 255 degrees of freedom, mean 255 and deviation sqrt(2 * 255)."""
    patterns = np.packbits(mask(dropout()).reshape(-1, 8), axis=-1)[:, 0]
    expected = len(patterns) / 256
    chi_square = ((np.bincount(patterns, minlength=256) - expected) ** 2 / expected).sum()
    assert abs(chi_square - 255) < SIGMAS * math.sqrt(2 * 255)


def test_a_layers_index_may_be_traced():
    traced = jax.jit(lambda layer: dropout().at(layer)(jnp.ones(SHAPE), rate=0.5))
    np.testing.assert_array_equal(traced(jnp.uint32(3)) == 0, mask(dropout().at(3)))


@pytest.mark.parametrize("num_microbatches", [2, 4])
def test_a_row_has_the_same_bits_in_any_microbatch(num_microbatches):
    whole = mask(dropout().at(1).site(2))
    for first in range(num_microbatches):
        rows = np.arange(first, SHAPE[0], num_microbatches)
        part = mask(dropout(rows=rows).at(1).site(2))
        np.testing.assert_array_equal(part, whole[rows])


def test_a_row_has_the_same_bits_beside_rows_of_padding():
    padded = mask(dropout(rows=np.arange(SHAPE[0] + 8)))
    np.testing.assert_array_equal(padded[: SHAPE[0]], mask(dropout()))
