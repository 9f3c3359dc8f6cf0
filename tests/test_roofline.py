"""The arithmetic of benchmarks/roofline.py against the real model, and against slow references."""

import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, module_at

from bigjax.engine.cost import count_flops
from bigjax.models import bert, ops
from bigjax.tasks.token_tagging.task import Tagger

LENGTH, ROWS = 32, 2


roofline = module_at(ROOT / "benchmarks" / "roofline.py")
SMALL = roofline.Model(layers=3, hidden=64, mlp=160, heads=4, vocab=50, positions=48, tags=5)
LARGE = roofline.Model()
V5E, H100 = roofline.CHIPS["v5e"], roofline.CHIPS["h100"]


@functools.cache
def tagger(model: roofline.Model):
    """The real model of these sizes, its parameters' shapes and a batch's."""
    sizes = bert.Sizes(
        vocab_size=model.vocab,
        num_layers=model.layers,
        hidden_size=model.hidden,
        num_heads=model.heads,
        mlp_size=model.mlp,
        max_positions=model.positions,
    )
    module = Tagger(sizes, bert.Compute(dtype="bfloat16"), model.tags)
    ids = jax.ShapeDtypeStruct((ROWS, LENGTH), jnp.int32)
    batch = dict.fromkeys(("tokens", "segments", "positions"), ids)
    params = jax.eval_shape(module.init, jax.random.key(0), batch, ops.NO_DROPOUT)
    return module, params, batch


@pytest.mark.parametrize("model", [SMALL, LARGE])
def test_parameters_are_those_of_the_real_model(model):
    _, params, _ = tagger(model)
    found = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert roofline.num_params(model) == found


def test_the_flops_of_a_token_are_those_of_the_real_gradient():
    module, params, batch = tagger(SMALL)
    loss = lambda params, batch: module.apply(params, batch, ops.NO_DROPOUT).sum()  # noqa: E731
    found = count_flops(jax.make_jaxpr(jax.grad(loss))(params, batch))
    assert roofline.flops_per_token(SMALL, row_length=LENGTH) * ROWS * LENGTH == found


def test_what_is_kept_of_a_token_is_what_differentiation_saves_of_a_layer():
    """The residuals of a layer's vjp that have as many entries as there are tokens, or more."""
    sizes = tagger(SMALL)[0].sizes
    layer = bert.Layer(sizes, bert.Compute(dtype="bfloat16"))
    x = jax.ShapeDtypeStruct((ROWS, LENGTH, SMALL.hidden), jnp.float32)
    same = jax.ShapeDtypeStruct((ROWS, LENGTH, LENGTH), jnp.bool)
    seed, rows = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((ROWS,), jnp.int32)

    def forward(params, x, same, seed, rows):
        dropout = ops.Dropout(seed, rows)
        apply = lambda params, x: layer.apply(params, x, jnp.uint32(1), same, dropout)[0]  # noqa: E731
        return jax.vjp(apply, params, x)[1]

    params = jax.eval_shape(layer.init, jax.random.key(0), x, jnp.uint32(1), same, ops.NO_DROPOUT)
    traced = jax.make_jaxpr(forward)(params, x, same, seed, rows).jaxpr
    saved = {id(var): var.aval for var in traced.outvars if var not in traced.invars}.values()
    tokens = ROWS * LENGTH
    found = sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in saved
        if leaf.shape[:1] == (tokens,) or leaf.shape[:1] == (ROWS,)
    )
    expected = roofline.kept_per_token(SMALL, row_length=LENGTH) / SMALL.layers * tokens
    scalars = 4 * (2 * SMALL.heads + 2 * 2) * tokens  # of softmax and norms, which it leaves out
    assert found == pytest.approx(expected + scalars, rel=0.01)


def ring_reduce_scatter(values: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Of (n, n, k) chunks on n devices: each device's sum, and how many numbers each sent."""
    num = len(values)
    held = values.astype(np.float64)
    sent = [0] * num
    for step in range(num - 1):
        moving = [(device, (device - step - 1) % num) for device in range(num)]
        chunks = [held[device, chunk].copy() for device, chunk in moving]
        for (device, chunk), numbers in zip(moving, chunks):
            held[(device + 1) % num, chunk] += numbers
            sent[device] += numbers.size
    return [held[device, device] for device in range(num)], sent


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_ring_sends_as_many_bytes_as_one_played_through(size):
    values = np.random.default_rng(0).integers(0, 9, (size, size, 3))
    sums, sent = ring_reduce_scatter(values)
    np.testing.assert_array_equal(sums, values.sum(0))
    assert sent == [roofline.ring_bytes(values[0].size, size=size)] * size


def test_networks_take_the_nominal_time_of_the_slowest_link():
    gigabyte = 1e9
    whole = roofline.over_torus(gigabyte, size=256, stride=1)
    assert whole == pytest.approx(gigabyte * 255 / 256 / 200e9)
    assert roofline.over_torus(gigabyte, size=16, stride=16) == pytest.approx(2 * whole, rel=0.06)
    inside = roofline.over_nodes(gigabyte, size=8, stride=1)
    assert inside == pytest.approx(gigabyte * 7 / 8 / 450e9)
    between = roofline.over_nodes(gigabyte, size=8, stride=8)
    assert between == pytest.approx(gigabyte * 7 / 8 / 50e9)
    # Over all 64 each adapter carries an eighth.
    both = roofline.over_nodes(gigabyte, size=64, stride=1)
    assert both == pytest.approx(inside + between / 8)


@pytest.mark.parametrize("chip, num", [(V5E, 256), (H100, 64)])
def test_the_gradient_hides_from_the_least_number_of_tokens_on(chip, num):
    """At no traffic to memory, where the backward pass is the products alone."""
    mesh = roofline.Mesh(num)
    least = roofline.least_tokens(LARGE, mesh, chip=chip, row_length=512)
    of = functools.partial(
        roofline.update, LARGE, mesh, chip=chip, row_length=512, remat="none", times_moved=0
    )
    assert of(tokens=least).exposed == pytest.approx(0, abs=1e-9)
    assert of(tokens=0.9 * least).exposed > 1e-4
    assert of(tokens=2 * least).mfu > of(tokens=least).mfu


def test_a_tensor_axis_shares_products_and_a_data_axis_does_not_change_a_device():
    of = functools.partial(
        roofline.update, LARGE, chip=V5E, tokens=4096, row_length=512, remat="none", times_moved=4
    )
    one = of(roofline.Mesh())
    assert one.tensor == one.exposed == 0
    assert of(roofline.Mesh(tensor=2)).products == pytest.approx(one.products / 2)
    assert of(roofline.Mesh(2)).products == one.products
    assert one.mfu == pytest.approx(one.products / one.seconds)
    fsdp, data = roofline.Mesh(fsdp=16), roofline.Mesh(16)
    assert roofline.state(LARGE, fsdp) == roofline.state(LARGE, data) / 16


def test_remat_computes_a_third_more_and_keeps_a_layer_and_the_inputs():
    mesh = roofline.Mesh()
    shape = {"tokens": 4096, "row_length": 512}
    none, full = (
        roofline.update(LARGE, mesh, chip=V5E, remat=remat, times_moved=4, **shape)
        for remat in ("none", "full")
    )
    assert full.products == pytest.approx(none.products * 4 / 3)
    assert full.mfu < none.mfu
    kept = {
        remat: roofline.activations(LARGE, tensor=1, remat=remat, **shape)
        for remat in ("none", "full")
    }
    inputs = 4096 * LARGE.layers * 4 * LARGE.hidden
    assert kept["full"] == inputs + kept["none"] / LARGE.layers


def test_the_command_prints_a_row_for_each_mesh(monkeypatch, capsys):
    arguments = ["roofline.py", "--chip=h100", "--mesh=data=4,fsdp=2", "--mesh=tensor=8"]
    monkeypatch.setattr(sys, "argv", arguments)
    roofline.main()
    printed = capsys.readouterr().out
    assert printed.startswith("H100 SXM; 334,101,513 parameters, 1.96 GFLOP a token\n")
    assert printed.count("| data=4,fsdp=2 | ") == printed.count("| tensor=8 | ") == 2
    assert "a checkpoint: 4.01 GB, 4.0 s at 1 GB/s" in printed
