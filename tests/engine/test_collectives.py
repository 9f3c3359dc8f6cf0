"""What devices say to each other, counted in the text of compiled programs."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from bigjax.engine import collectives, sharding
from bigjax.engine.collectives import Collective
from bigjax.processes import dispatch

TEXT = """HloModule small

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b), metadata={op_name="all-reduce(x)"}
}

%turn.1 (x: f32[4,8]) -> f32[4,8] {
  ROOT %all-reduce.1 = f32[4,8]{1,0} all-reduce(%x), replica_groups={}, to_apply=%sum
}

%more.2 (x: f32[4,8]) -> pred[] {
  ROOT %less = pred[] compare(%x, %x), direction=LT
}

%fused (x: f32[6]) -> f32[3] {
  ROOT %scatter = f32[3]{0} reduce-scatter(%x), to_apply=%sum
}

ENTRY %main.3 (x: f32[4,8]) -> f32[4,8] {
  %loop = f32[4,8]{1,0} while(%x), condition=%more.2, body=%turn.1, backend_config={@}
  %all-reduce.2 = (f32[2]{0}, bf16[3]{0:T(256)}) all-reduce(%x, %y), to_apply=%sum
  %start = (f32[4]{0}, f32[16]{0}) all-gather-start(%x), dimensions={0}
  %done = f32[16]{0} all-gather-done(%start)
  %scattered = f32[3]{0} fusion(%x), kind=kLoop, calls=%fused
  ROOT %permute = pred[5]{0} collective-permute(%x)
}
"""


@pytest.mark.parametrize("known, turns", [('"known_trip_count":{"n":"24"}', 24), ("", 1)])
def test_each_kind_is_counted_with_the_bytes_of_its_results_as_often_as_its_loop_runs(known, turns):
    assert collectives.count(TEXT.replace("@", known)) == {
        "all-reduce": Collective(turns + 1, turns * 4 * 8 * 4 + 2 * 4 + 3 * 2),
        "all-gather": Collective(1, 16 * 4),
        "reduce-scatter": Collective(1, 3 * 4),
        "collective-permute": Collective(1, 5),
    }


def test_every_branch_of_a_conditional_counts():
    text = """
%one (x: f32[2]) -> f32[2] {
  ROOT %a = f32[2]{0} all-reduce(%x)
}
%two (x: f32[2]) -> f32[2] {
  ROOT %b = f32[2]{0} all-reduce(%x)
}
ENTRY %main (x: f32[2]) -> f32[2] {
  ROOT %c = f32[2]{0} conditional(%i, %x, %x), branch_computations={%one, %two}
}"""
    assert collectives.count(text) == {"all-reduce": Collective(2, 2 * 2 * 4)}
    text = text.replace("branch_computations={%one, %two}", "true_computation=%one, x={}")
    assert collectives.count(text) == {"all-reduce": Collective(1, 2 * 4)}


def compiled(fn, *shapes_and_axes, **options) -> dict[str, Collective]:
    """The collectives of `fn` for float32 arguments of these shapes, split over eight devices."""
    mesh = sharding.make_mesh("data=8")
    arguments = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, P(*axes)))
        for shape, *axes in shapes_and_axes
    ]
    whole = NamedSharding(mesh, P())
    text = jax.jit(fn, out_shardings=whole, **options).lower(*arguments).compile().as_text()
    return collectives.count(text)


def test_the_gradient_of_a_split_batch_is_one_all_reduce_of_its_size():
    gradient = jax.grad(lambda w, x: jnp.square(x @ w).sum())
    assert compiled(gradient, ((16,),), ((32, 16), "data")) == {"all-reduce": Collective(1, 16 * 4)}


def test_the_gradients_of_scanned_layers_are_reduced_once_a_layer():
    def loss(weights, x):
        return lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0].sum()

    found = compiled(jax.grad(loss), ((6, 16, 16),), ((32, 16), "data"))
    assert found == {"all-reduce": Collective(6, 6 * 16 * 16 * 4)}


def test_a_loop_inside_a_loop_counts_as_often_as_both_run():
    def f(x):
        add = lambda _, x: x + jnp.sin(x).sum(0, keepdims=True)  # noqa: E731
        return lax.fori_loop(0, 3, lambda _, x: lax.fori_loop(0, 5, add, jnp.cos(x)), x)[:1]

    times = 3 * 5 + 1  # and the result goes to all devices
    assert compiled(f, ((8, 4), "data")) == {"all-reduce": Collective(times, times * 4 * 4)}


def test_a_loop_of_unknown_length_counts_as_one_turn():
    def f(x):
        add = lambda total: total + jnp.square(x + total).sum()  # noqa: E731
        return lax.while_loop(lambda total: total < 100.0, add, x[0, 0])

    times = 1 + 1  # and x[0, 0] goes to all devices
    assert compiled(f, ((8, 4), "data")) == {"all-reduce": Collective(times, times * 4)}


def test_one_device_says_nothing():
    text = jax.jit(lambda x: x + 1).lower(1.0).compile().as_text()
    assert collectives.count(text) == {}


def test_a_program_is_done_before_the_next_where_one_could_overtake_another():
    """On CPU devices; two updates in a row hang now and then otherwise."""
    mesh = sharding.make_mesh("data=8")
    x = jax.device_put(jnp.ones((8, 1 << 20)), NamedSharding(mesh, P("data")))
    step = jax.jit(lambda x: jnp.sin(x) + x.sum())
    jax.block_until_ready(step(x))
    assert not step(x).is_ready(), "else the next line would prove nothing"
    assert dispatch.in_order(step(x)).is_ready()
