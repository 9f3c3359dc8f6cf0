"""Owns the gradient of a sum over rows, a part of the batch at a time.

Two reasons to cut a batch: an update that does not fit into memory (`batch.accumulate`), and a CPU,
whose cache holds the activations of a few rows while those of many go to memory and back, which
doubles the time of a step. The result is that of the whole batch, to rounding.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Batch = Mapping[str, jax.Array]
# (params, model_state, rows) -> (gradients of the summed loss, (sums, model_state))
Gradient = Callable[[Any, Any, Batch], tuple[Any, tuple[dict[str, Any], Any]]]


def num_chunks(num_rows: int, *, rows: int) -> int:
    """In how many equal parts to cut a batch so that each has about `rows` rows, and no more; 1
    where no number from that to twice as many divides it."""
    least = -(-num_rows // rows)
    return next((n for n in range(least, 2 * least + 1) if num_rows % n == 0), 1)


def split(batch: Batch, *, num_parts: int) -> dict[str, jax.Array]:
    """The batch (B, ...) as parts (num_parts, B / num_parts, ...). Row i goes to part
    i % num_parts, so each device's rows stay where they are."""
    return jax.tree.map(
        lambda x: x.reshape(len(x) // num_parts, num_parts, *x.shape[1:]).swapaxes(0, 1),
        dict(batch),
    )


def in_parts(gradient: Gradient, *, num_parts: int) -> Gradient:
    """`gradient` of a whole batch as the sum of those of its parts, one after the other. Each part
    starts from the model_state that the part before it left."""

    def summed(params: Any, model_state: Any, batch: Batch) -> Any:
        parts = split(batch, num_parts=num_parts)
        first = jax.tree.map(lambda x: x[0], parts)
        grads, (sums, _) = jax.eval_shape(gradient, params, model_state, first)
        zeros = jax.tree.map(jnp.zeros_like, (grads, sums))

        def add(carry: Any, rows: Any) -> tuple[Any, None]:
            total, model_state = carry
            grads, (sums, model_state) = gradient(params, model_state, rows)
            return (jax.tree.map(jnp.add, total, (grads, sums)), model_state), None

        ((grads, sums), model_state), _ = jax.lax.scan(add, (zeros, model_state), parts)
        return grads, (sums, model_state)

    return summed
