"""Gradients and sums of a part of the rows at a time, against those of the whole batch at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bigjax.engine import microbatches
from bigjax.scores.metrics import Mean

TOLERANCE = 1e-5  # of sums of up to 40 that are added in another order
NUM_ROWS = 24


def sums(params, batch) -> dict[str, Mean]:
    """A weighted mean of squares, of which the weights too depend on the parameters."""
    outputs = jnp.tanh(batch["x"] @ params["kernel"]) @ params["head"]
    weights = batch["weight"] * jnp.exp(params["scale"])
    loss = Mean.of(weights * jnp.square(outputs - batch["y"]), batch["mask"])
    loss = loss._replace(count=jnp.sum(weights, where=batch["mask"]))
    return {"loss": loss, "positive": Mean.of(outputs > 0, batch["mask"])}


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    arrays = {"kernel": rng.standard_normal((3, 5)), "head": rng.standard_normal(5), "scale": 0.1}
    return {name: jnp.asarray(x, jnp.float32) for name, x in arrays.items()}


@pytest.fixture(scope="module")
def batch():
    """Every fifth row does not count."""
    rng = np.random.default_rng(1)
    return {
        "x": jnp.asarray(rng.standard_normal((NUM_ROWS, 3)), jnp.float32),
        "y": jnp.asarray(rng.standard_normal(NUM_ROWS), jnp.float32),
        "weight": jnp.asarray(rng.uniform(0.2, 3, NUM_ROWS), jnp.float32),
        "mask": jnp.arange(NUM_ROWS) % 5 != 4,
    }


def objective(params, model_state, batch):
    found = sums(params, batch)
    return found["loss"].total, (found, model_state)


gradient = jax.grad(objective, has_aux=True)


def in_parts(params, batch, num_parts: int):
    """The gradient of the summed loss, and the sums."""
    grads, (found, _) = microbatches.in_parts(gradient, num_parts=num_parts)(params, {}, batch)
    return grads, found


@pytest.fixture(scope="module")
def whole(params, batch):
    grads, (found, _) = jax.jit(gradient)(params, {}, batch)
    return grads, found


def assert_close(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("num_parts", [1, 2, 3, 8, 24])
def test_parts_add_up_to_the_whole_batch(params, batch, whole, num_parts):
    assert_close(jax.jit(in_parts, static_argnums=2)(params, batch, num_parts), whole)


def test_parts_within_parts_add_up_too(params, batch, whole):
    """As where an update is cut to save memory, and each part of it for a cache."""
    inner = microbatches.in_parts(gradient, num_parts=2)
    grads, (found, _) = microbatches.in_parts(inner, num_parts=3)(params, {}, batch)
    assert_close((grads, found), whole)


def test_parts_of_a_batch_on_eight_devices_add_up_too(params, batch, whole):
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    split = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("rows")))
    placed = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    assert_close(jax.jit(in_parts, static_argnums=2)(placed, split, 3), whole)


def test_each_part_starts_from_the_state_that_the_one_before_it_left(params, batch):
    def counting(params, seen, rows):
        grads, (found, _) = gradient(params, {}, rows)
        return grads, (found, 2 * seen + 1)

    _, (_, seen) = microbatches.in_parts(counting, num_parts=3)(params, jnp.float32(1), batch)
    assert float(seen) == 15


def test_num_chunks_is_the_least_that_divides_the_rows_and_keeps_to_the_size():
    for num_rows in range(1, 200):
        for rows in (1, 2, 7, 32):
            fits = [n for n in range(1, num_rows + 1) if num_rows % n == 0 and num_rows / n <= rows]
            least = -(-num_rows // rows)
            expected = fits[0] if fits[0] <= 2 * least else 1
            assert microbatches.num_chunks(num_rows, rows=rows) == expected


def test_an_array_without_columns_is_parted_too():
    """As a table without categories has one."""
    parts = microbatches.split({"none": jnp.zeros((6, 0))}, num_parts=3)
    assert parts["none"].shape == (3, 2, 0)
