"""The operations of traced functions against counts by hand, 2 m k n for (m, k) @ (k, n), and the
memory of compiled ones."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from bigjax.engine import cost
from bigjax.engine.cost import count_flops
from bigjax.models import ops

SIZE = 1000


def flops_of(fn, *shapes) -> int:
    return count_flops(jax.make_jaxpr(fn)(*(jnp.zeros(shape) for shape in shapes)))


def test_a_product_is_two_operations_a_multiply_add():
    assert flops_of(jnp.matmul, (3, 5), (5, 7)) == 2 * 3 * 5 * 7


def test_a_batched_product_counts_every_member_of_the_batch():
    attention = functools.partial(jnp.einsum, "blhk,bmhk->bhlm")
    assert flops_of(attention, (2, 11, 3, 5), (2, 13, 3, 5)) == 2 * (2 * 3) * 11 * 5 * 13


def test_several_contracted_dimensions_count_with_their_product():
    contract = functools.partial(jnp.einsum, "ahk,hkb->ab")
    assert flops_of(contract, (7, 3, 5), (3, 5, 11)) == 2 * 7 * (3 * 5) * 11


def convolution(groups: int):
    return lambda image, kernel: lax.conv_general_dilated(
        image,
        kernel,
        window_strides=(2, 2),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def test_a_convolution_counts_its_window_at_every_place_of_the_output():
    # Places of a 3 x 3 window at stride 2 in 9 x 11: 4 x 5.
    expected = 2 * (2 * 4 * 5 * 8) * (3 * 3 * 6)
    assert flops_of(convolution(1), (2, 9, 11, 6), (3, 3, 6, 8)) == expected


def test_a_grouped_convolution_sees_the_channels_of_its_group_alone():
    expected = 2 * (2 * 4 * 5 * 8) * (3 * 3 * 3)
    assert flops_of(convolution(2), (2, 9, 11, 6), (3, 3, 3, 8)) == expected


def test_a_scan_counts_as_often_as_it_runs():
    def power(x, w):
        return lax.scan(lambda carry, _: (carry @ w, None), x, None, length=6)[0]

    assert flops_of(power, (3, 5), (5, 5)) == 6 * (2 * 3 * 5 * 5)


def test_nested_loops_multiply():
    def nested(x, w):
        inner = lambda carry: lax.scan(lambda c, _: (c @ w, None), carry, None, length=4)[0]  # noqa: E731
        return lax.scan(lambda carry, _: (inner(carry), None), x, None, length=3)[0]

    assert flops_of(nested, (2, 5), (5, 5)) == 3 * 4 * (2 * 2 * 5 * 5)


def test_a_while_loop_counts_one_pass():
    def loop(x, w):
        return lax.while_loop(lambda c: c.sum() < 1, lambda c: c @ w, x)

    assert flops_of(loop, (2, 5), (5, 5)) == 2 * 2 * 5 * 5


def test_a_branch_counts_as_the_dearer_one():
    def branch(x, w):
        return lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w)

    assert flops_of(branch, (2, 5), (5, 5)) == 2 * (2 * 2 * 5 * 5)


def test_jit_and_functions_inside_it_are_seen_through():
    nested = jax.jit(lambda x, w: jax.jit(jnp.matmul)(x, w))
    assert flops_of(nested, (2, 5), (5, 7)) == 2 * 2 * 5 * 7


@pytest.mark.parametrize("wrap, products", [(lambda f: f, 3), (jax.checkpoint, 4)])
def test_the_backward_pass_counts_what_it_computes_and_recomputes(wrap, products):
    """Through tanh: forward, and one product for each operand's gradient; a checkpoint does the
    forward one again."""
    layer = wrap(lambda x, w: jnp.tanh(x @ w).sum())
    assert flops_of(jax.grad(layer, argnums=(0, 1)), (2, 5), (5, 7)) == products * (2 * 2 * 5 * 7)


def test_a_custom_derivative_counts_once_forward_and_twice_backward():
    def layer(x, w, b):
        params = {"params": {"kernel": w, "bias": b}}
        return ops.Dense(7, dtype="bfloat16").apply(params, x).sum()

    shapes = (2, 5), (5, 7), (7,)
    once = 2 * 2 * 5 * 7
    assert flops_of(layer, *shapes) == once
    assert flops_of(jax.grad(layer, argnums=(0, 1)), *shapes) == 3 * once


# --- memory ---------------------------------------------------------------------------------------


def test_the_peak_counts_arguments_and_results_but_a_donated_one_once():
    x = jax.ShapeDtypeStruct((SIZE,), jnp.float32)
    kept = cost.peak_memory(jax.jit(lambda x: x + 1).lower(x).compile())
    donated = cost.peak_memory(jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile())
    assert (kept, donated) == (2 * SIZE * 4, SIZE * 4)


def test_a_program_fits_where_it_leaves_some_of_the_device_free():
    x = jax.ShapeDtypeStruct((SIZE,), jnp.float32)
    compiled = jax.jit(lambda x: x + 1).lower(x).compile()
    assert cost.fits(compiled, limit=None)
    assert cost.fits(compiled, limit=10 * SIZE)
    assert not cost.fits(compiled, limit=8 * SIZE)
