"""What devices say to each other, counted in the text of compiled programs."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from bigjax import collectives, sharding
from bigjax.collectives import Collective

TEXT = """
  %all-reduce.1 = f32[4,8]{1,0} all-reduce(%x), replica_groups={}
  %all-reduce.2 = (f32[2]{0}, bf16[3]{0}) all-reduce(%x, %y), replica_groups={}
  %gather = f32[16]{0} all-gather-start(%x), dimensions={0}
  %done = f32[16]{0} all-gather-done(%gather)
  %add = f32[] add(%a, %b), metadata={op_name="all-reduce(x)"}
  ROOT %permute = pred[5]{0} collective-permute(%x)
"""


def test_each_kind_is_counted_once_with_the_bytes_of_its_results():
    assert collectives.count(TEXT) == {
        "all-reduce": Collective(2, 4 * 8 * 4 + 2 * 4 + 3 * 2),
        "all-gather": Collective(1, 16 * 4),
        "collective-permute": Collective(1, 5),
    }


def test_the_gradient_of_a_split_batch_is_one_all_reduce_of_its_size():
    mesh = sharding.make_mesh("data=8")
    rows, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    step = jax.jit(jax.grad(lambda w, x: jnp.square(x @ w).sum()), out_shardings=whole)
    w = jax.ShapeDtypeStruct((16,), jnp.float32, sharding=whole)
    x = jax.ShapeDtypeStruct((32, 16), jnp.float32, sharding=rows)
    found = collectives.count(step.lower(w, x).compile().as_text())
    assert found == {"all-reduce": Collective(1, 16 * 4)}


def test_one_device_says_nothing():
    text = jax.jit(lambda x: x + 1).lower(1.0).compile().as_text()
    assert collectives.count(text) == {}
