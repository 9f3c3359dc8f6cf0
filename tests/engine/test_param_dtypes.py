"""Parameters in few bits: rounding at random against its definition, and training with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from bigjax.engine import param_dtypes, sharding
from bigjax.errors import UserError

NARROW = {"w": "bfloat16"}


def rounded(values, *, seed: int = 0) -> np.ndarray:
    params = {"w": jnp.asarray(values, jnp.float32)}
    found = param_dtypes.at_random(params, dtypes=NARROW, key=jax.random.key(seed))["w"]
    assert found.dtype == jnp.bfloat16
    return np.asarray(found, np.float64)


def test_rounding_at_random_takes_a_neighbour_and_is_right_on_average():
    """Between 1 and 2 neighbours are a 128th apart; a standard deviation of the mean is 1e-5."""
    exact = 1 + 0.3 / 128
    found = rounded(np.full(100_000, exact))
    assert set(found.tolist()) == {1.0, 1 + 1 / 128}
    assert abs(found.mean() - np.float32(exact)) < 6e-5


def test_many_updates_too_small_for_bfloat16_add_up():
    """A hundred times a fortieth of the distance between neighbours; to the nearest, none is."""
    step = 1 / 128 / 40
    found = {"w": jnp.ones(10_000, jnp.bfloat16)}
    assert (found["w"].astype(jnp.float32) + step).astype(jnp.bfloat16).max() == 1
    for i in range(100):
        wide = {"w": param_dtypes.widen(found)["w"] + step}
        found = param_dtypes.at_random(wide, dtypes=NARROW, key=jax.random.key(i))
    assert np.asarray(found["w"], np.float64).mean() == pytest.approx(1 + 100 * step, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -(2.0**127), np.inf, -np.inf, 2.0**-126])
def test_what_bfloat16_holds_stays_as_it_is(value):
    found = rounded(np.full(1000, value))
    assert found.tolist() == [value] * 1000
    assert np.signbit(found[0]) == np.signbit(value)


def test_what_is_no_number_stays_none():
    """Any bits of one: adding to them could carry over into those of a number."""
    bits = np.array([0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32)
    assert np.isnan(rounded(bits.view(np.float32))).all()


def test_rounding_depends_on_the_key_and_on_no_mesh():
    values = np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)
    place = NamedSharding(sharding.make_mesh("data=4,fsdp=2"), P("data", "fsdp"))
    split = {"w": jax.device_put(values, place)}
    round_ = jax.jit(lambda x: param_dtypes.at_random(x, dtypes=NARROW, key=jax.random.key(0)))
    np.testing.assert_array_equal(np.asarray(round_(split)["w"], np.float64), rounded(values))
    assert (rounded(values, seed=1) != rounded(values)).any()


def test_leaves_have_the_types_of_their_rules():
    params = {"encoder": {"w": jnp.ones(3)}, "head": {"w": jnp.ones(3)}}
    rules = (("encoder/.*", "bfloat16"), (".*", "float32"))
    dtypes = param_dtypes.dtypes(params, rules=rules)
    for found in (
        param_dtypes.narrow(params, dtypes=dtypes),
        param_dtypes.at_random(params, dtypes=dtypes, key=jax.random.key(0)),
    ):
        assert found["encoder"]["w"].dtype == jnp.bfloat16
        assert found["head"]["w"].dtype == jnp.float32
        wide = param_dtypes.widen(found)
        assert {x.dtype for x in jax.tree.leaves(wide)} == {jnp.dtype("float32")}
    assert param_dtypes.dtypes(params, rules=((".*", "float32"),)) is None


def test_an_unknown_type_is_one_line():
    with pytest.raises(UserError, match="'float16' for '.*'; expected float32 or bfloat16"):
        param_dtypes.dtypes({"w": jnp.ones(3)}, rules=((".*", "float16"),))
