"""Sums and gradients of a few rows at a time, against those of the whole batch at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bigjax.engine import microbatches
from bigjax.scores.metrics import Mean

TOLERANCE = 1e-6
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


def chunked(params, batch, num_chunks: int) -> dict[str, Mean]:
    return microbatches.sums_in_chunks(sums, params, batch, num_chunks=num_chunks)


def mean_loss_and_sums(found):
    """As an update divides: by a count that is not differentiated."""
    loss = found["loss"]
    return loss.total / jax.lax.stop_gradient(loss.count), found


@pytest.fixture(scope="module")
def whole(params, batch):
    """The sums of the whole batch, and the gradient of their mean loss."""
    loss = lambda params: mean_loss_and_sums(sums(params, batch))  # noqa: E731
    gradient, found = jax.jit(jax.grad(loss, has_aux=True))(params)
    return found, gradient


def assert_close(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("num_chunks", [1, 2, 3, 8, 24])
def test_chunks_add_up_to_the_whole_batch(params, batch, whole, num_chunks):
    loss = lambda params: mean_loss_and_sums(chunked(params, batch, num_chunks))  # noqa: E731
    gradient, found = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert_close(found, whole[0])
    assert_close(gradient, whole[1])


def test_the_sums_alone_are_the_same(params, batch, whole):
    assert_close(jax.jit(lambda params: chunked(params, batch, 4))(params), whole[0])


def test_chunks_of_a_batch_on_eight_devices_add_up_too(params, batch, whole):
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    split = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("rows")))
    placed = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))

    @jax.jit
    def found_on_the_mesh(params, batch):
        loss = lambda params: mean_loss_and_sums(chunked(params, batch, 3))  # noqa: E731
        return jax.grad(loss, has_aux=True)(params)

    gradient, found = found_on_the_mesh(placed, split)
    assert_close(found, whole[0])
    assert_close(gradient, whole[1])


def test_only_the_total_of_the_loss_is_differentiated(params, batch):
    """The count depends on the parameters here, and so does a row of the batch on what made it."""
    gradient = jax.grad(lambda params: chunked(params, batch, 4)["loss"].count)(params)
    assert not any(np.any(x) for x in jax.tree.leaves(gradient))
    of_rows = lambda x: chunked(params, batch | {"x": x}, 4)["loss"].total  # noqa: E731
    assert not np.any(jax.grad(of_rows)(batch["x"]))


def test_num_chunks_is_the_least_that_divides_the_rows_and_keeps_to_the_size():
    for num_rows in range(1, 200):
        for rows in (1, 2, 7, 32):
            fits = [n for n in range(1, num_rows + 1) if num_rows % n == 0 and num_rows / n <= rows]
            least = -(-num_rows // rows)
            expected = fits[0] if fits[0] <= 2 * least else 1
            assert microbatches.num_chunks(num_rows, rows=rows) == expected
