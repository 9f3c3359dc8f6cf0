"""Owns the mergeable metric states: masked sums that are divided once, at the end.

Every state is an immutable NamedTuple with the protocol of CLU's `Metric`: `empty()`,
`merge(other)`, `compute()`; `of(...)` makes one from a batch. Merging the states of any partition
of the examples gives the state of all of them, so the batch size, the padding and the number of
devices or processes never change a score. Which metrics a task reports, and how a model's output
becomes tags, belongs to the task; what is summed for the gradient belongs to `losses.py`.
"""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np


class Mean(NamedTuple):
    """A weighted mean: a masked sum and what it is divided by. A pytree, usable inside jit.

    total: scalar, at least float32. count: scalar, int32 from `of`.

    On a device totals add up in float32 and counts in int32. `jax.device_get` a state before
    merging it onto `empty()` (float64, int64) and a long evaluation loses nothing to rounding.
    """

    total: jax.Array | np.ndarray
    count: jax.Array | np.ndarray

    @classmethod
    def of(cls, values: jax.Array, mask: jax.Array) -> Self:
        """The sum of `values` (any shape and dtype; bool counts the true ones) where `mask` is
        true; what stands where it is false is never read, so padding may hold NaN.

        mask: bool, or 0 and 1, of exactly the shape of `values`; ValueError for any other shape,
        because broadcasting one hides the mistake in a wrong mean.
        """
        values, mask = jnp.asarray(values), jnp.asarray(mask, bool)
        if values.shape != mask.shape:
            raise ValueError(f"Mean.of: values are {values.shape} but mask is {mask.shape}")
        dtype = jnp.promote_types(values.dtype, jnp.float32)
        return cls(jnp.sum(values, where=mask, dtype=dtype), jnp.sum(mask))

    @classmethod
    def empty(cls) -> Self:
        return cls(np.float64(0), np.int64(0))

    def merge(self, other: Self) -> Self:
        return type(self)(self.total + other.total, self.count + other.count)

    def compute(self) -> jax.Array | np.ndarray:
        """total / count; nan where nothing was counted."""
        with np.errstate(invalid="ignore"):  # numpy warns of 0 / 0, JAX does not
            return self.total / self.count


class Confusion(NamedTuple):
    """How often each class was taken for each: host-side numpy.

    counts: int64 [C, C], rows are gold classes and columns predicted ones; [0, 0] when empty.
    """

    counts: np.ndarray

    @classmethod
    def of(
        cls, *, gold: np.ndarray, predicted: np.ndarray, mask: np.ndarray, num_classes: int
    ) -> Self:
        """Counts pairs of class ids (integer arrays of one shape) where `mask` (same shape) is
        true; padding may hold any id. ValueError for unequal shapes or an id outside
        [0, num_classes)."""
        gold, predicted, mask = np.asarray(gold), np.asarray(predicted), np.asarray(mask, bool)
        if not gold.shape == predicted.shape == mask.shape:
            shapes = f"gold {gold.shape}, predicted {predicted.shape}, mask {mask.shape}"
            raise ValueError(f"Confusion.of: expected one shape, got {shapes}")
        gold, predicted = gold[mask].astype(np.int64), predicted[mask].astype(np.int64)
        for name, ids in (("gold", gold), ("predicted", predicted)):
            outside = ids[(ids < 0) | (ids >= num_classes)]
            if outside.size:
                expected = f"0 to {num_classes - 1}"
                raise ValueError(f"Confusion.of: {name} id {outside[0]}, expected {expected}")
        flat = np.bincount(gold * num_classes + predicted, minlength=num_classes**2)
        return cls(flat.reshape(num_classes, num_classes))

    @classmethod
    def empty(cls) -> Self:
        return cls(np.zeros((0, 0), np.int64))

    def merge(self, other: Self) -> Self:
        if not self.counts.size or not other.counts.size:
            return self if self.counts.size else other
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"Confusion.merge: {self.counts.shape} and {other.counts.shape}")
        return type(self)(self.counts + other.counts)

    def compute(self) -> np.ndarray:
        """The matrix of counts, int64 [C, C]."""
        return self.counts
