"""Owns the layers whose plain form is slow or not exact enough: mixed-precision `Dense`, `Embed`
and counter-based `Dropout`.

Suffixes: D input features, F output features, N everything before them.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class Dense(nn.Module):
    """y = x @ kernel + bias with float32 parameters and `dtype` operands in the product."""

    features: int
    dtype: str = "float32"
    init_std: float = 0.02

    @nn.compact
    def __call__(self, x_ND: jax.Array) -> jax.Array:
        kernel_init = nn.initializers.truncated_normal(self.init_std)
        kernel_DF = self.param("kernel", kernel_init, (x_ND.shape[-1], self.features))
        bias_F = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        if self.dtype == "float32":
            y_NF = jnp.matmul(x_ND, kernel_DF, precision=lax.Precision.HIGHEST)
        else:
            y_NF = _bfloat16_matmul(x_ND, kernel_DF)
        return y_NF + bias_F.reshape((1,) * (x_ND.ndim - 1) + (-1,))


class Embed(nn.Module):
    """Rows of a table (num_embeddings, features) by integer id."""

    num_embeddings: int
    features: int
    init_std: float = 0.02

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        init = nn.initializers.truncated_normal(self.init_std)
        table = self.param("embedding", init, (self.num_embeddings, self.features))
        return jnp.take(table, ids, axis=0, mode="clip")


@jax.custom_vjp
def _bfloat16_matmul(x_ND: jax.Array, kernel_DF: jax.Array) -> jax.Array:
    """bfloat16 operands, float32 accumulation and result, in both directions.

    The derivative is written out because the automatic one multiplies a float32 cotangent by a
    bfloat16 operand, a pair for which no backend has a fast path.
    """
    return _dot(x_ND, kernel_DF, contract=(x_ND.ndim - 1, 0))


def _forward(x_ND: jax.Array, kernel_DF: jax.Array) -> tuple[jax.Array, Any]:
    return _bfloat16_matmul(x_ND, kernel_DF), (x_ND.astype(jnp.bfloat16), kernel_DF)


def _backward(residuals: Any, dy_NF: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_ND, kernel_DF = residuals
    dx_ND = _dot(dy_NF, kernel_DF, contract=(dy_NF.ndim - 1, 1))
    flat = lambda y: y.reshape(-1, y.shape[-1])  # noqa: E731
    return dx_ND, _dot(flat(x_ND), flat(dy_NF), contract=(0, 0))


_bfloat16_matmul.defvjp(_forward, _backward)


def _dot(a: jax.Array, b: jax.Array, *, contract: tuple[int, int]) -> jax.Array:
    return lax.dot_general(
        a.astype(jnp.bfloat16),
        b.astype(jnp.bfloat16),
        (((contract[0],), (contract[1],)), ((), ())),
        preferred_element_type=jnp.float32,
    )


class Dropout(NamedTuple):
    """Dropout whose random bits are a hash of (seed, place, row, position in the row).

    An element's bit depends on the global index of its row alone, so accumulation, padding rows and
    the number of devices never change it; and a hash of a counter costs a fraction of threefry.

    seed: uint32 scalar, fresh for each step, or None for no dropout.
    rows_B: int32 global index of each row of the batch.
    """

    seed: jax.Array | None
    rows_B: jax.Array | None

    def at(self, layer: jax.Array | int) -> "Dropout":
        """The dropout of one layer (an index, possibly traced)."""
        if self.seed is None:
            return self
        return self._replace(seed=_mix(self.seed + jnp.uint32(layer) * jnp.uint32(0x9E3779B9)))

    def site(self, number: int) -> "Dropout":
        """The dropout of one place within a layer."""
        if self.seed is None:
            return self
        return self._replace(seed=_mix(self.seed ^ jnp.uint32(0x85EBCA6B + number)))

    def __call__(self, x: jax.Array, *, rate: float) -> jax.Array:
        """Zeroes a fraction `rate` of x (B, ...) and scales the rest by 1 / (1 - rate)."""
        if self.seed is None or rate == 0.0:
            return x
        size = math.prod(x.shape[1:])
        within = lax.broadcasted_iota(jnp.uint32, (1, size), 1).reshape(1, *x.shape[1:])
        rows = self.rows_B.astype(jnp.uint32).reshape((-1,) + (1,) * (x.ndim - 1))
        bits = _mix((rows * jnp.uint32(size) + within) ^ self.seed)
        keep = bits >= jnp.uint32(round(rate * 2**32))
        return jnp.where(keep, x * (1.0 / (1.0 - rate)), 0.0).astype(x.dtype)


NO_DROPOUT = Dropout(None, None)


def _mix(x: jax.Array) -> jax.Array:
    """A 32-bit integer hash with low bias (two xorshift-multiply rounds)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
