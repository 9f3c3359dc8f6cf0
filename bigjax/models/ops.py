"""Owns the layers whose plain form is slow or not exact enough: mixed-precision `Dense` and `conv`,
`max_pool`, `Embed`, `LayerNorm`, and counter-based `Dropout`.

Suffixes: D input features, F output features, N everything before them; B batch rows, H height,
W width, C channels.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

PRODUCT = "product"  # what a policy of rematerialization knows the results of `Dense` by


class Dense(nn.Module):
    """y = x @ kernel + bias with float32 parameters and `dtype` operands in the product.

    axes: the mesh axes of the kernel's dimensions, D and F; those that store it, too.
    """

    features: int
    dtype: str = "float32"
    axes: "Axes" = (None, None)
    kernel_init: Any = nn.initializers.truncated_normal(0.02)

    @nn.compact
    def __call__(self, x_ND: jax.Array) -> jax.Array:
        kernel_init = nn.with_partitioning(self.kernel_init, self.axes)
        bias_init = nn.with_partitioning(nn.initializers.zeros_init(), self.axes[1:])
        kernel_DF = self.param("kernel", kernel_init, (x_ND.shape[-1], self.features))
        bias_F = self.param("bias", bias_init, (self.features,))
        y_NF = matmul(x_ND.reshape(-1, x_ND.shape[-1]), kernel_DF, self.dtype, self.axes)
        y_NF = checkpoint_name(y_NF, PRODUCT)
        y_NF += at_use(bias_F, self.axes[1])[None]
        return y_NF.reshape(*x_ND.shape[:-1], self.features)


class LayerNorm(nn.Module):
    """Normalisation over the last axis, in float32 (Ba et al. 2016).

    Two-pass variance: E[x^2] - E[x]^2 loses the digits that a float32 match with PyTorch needs.
    """

    epsilon: float

    @nn.compact
    def __call__(self, x_ND: jax.Array) -> jax.Array:
        size = x_ND.shape[-1]
        shape = (1,) * (x_ND.ndim - 1) + (size,)
        scale = self.param("scale", nn.initializers.ones_init(), (size,)).reshape(shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (size,)).reshape(shape)
        x_ND = x_ND.astype(jnp.float32)
        centred = x_ND - x_ND.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return centred * lax.rsqrt(variance + self.epsilon) * scale + bias


def gelu(x: jax.Array) -> jax.Array:
    """x * Phi(x) by erf, as PyTorch computes it (Hendrycks & Gimpel 2016); `jax.nn.gelu` goes by
    erfc, which costs twice as much on a CPU."""
    return 0.5 * x * (1.0 + lax.erf(x * math.sqrt(0.5)))


class Embed(nn.Module):
    """Rows of a table (num_embeddings, features) by integer id."""

    num_embeddings: int
    features: int
    init_std: float = 0.02

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        init = nn.initializers.truncated_normal(self.init_std)
        table = self.param("embedding", init, (self.num_embeddings, self.features))
        return split_rows(jnp.take(at_use(table), ids, axis=0, mode="clip"))


# The mesh axes that split the dimensions of a matrix. Where one ends in "?", a dimension that it
# does not divide stays whole; else it is an error of the mesh.
Axes = tuple[str | None, str | None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def matmul(x_ND: jax.Array, kernel_DF: jax.Array, dtype: str, axes: Axes) -> jax.Array:
    """x @ kernel with operands in `dtype`, accumulated and returned in float32, in both directions.

    The derivative is written out for three reasons: the automatic one multiplies a float32
    cotangent by a bfloat16 operand, a pair for which no backend has a fast path; it makes the
    kernel's gradient transposed, which costs a copy of it; and it would keep a fully sharded kernel
    gathered from the forward to the backward pass.
    """
    return _dot(x_ND, at_use(kernel_DF.astype(dtype), *axes), dtype=dtype, contract=(1, 0))


def _forward(x_ND: jax.Array, kernel_DF: jax.Array, dtype: str, axes: Axes) -> tuple[Any, Any]:
    return matmul(x_ND, kernel_DF, dtype, axes), (x_ND.astype(dtype), kernel_DF)


def _backward(dtype: str, axes: Axes, residuals: Any, dy_NF: jax.Array) -> tuple[Any, Any]:
    x_ND, kernel_DF = residuals
    kernel_DF = at_use(kernel_DF.astype(dtype), *axes)
    dx_ND = _dot(dy_NF, kernel_DF, dtype=dtype, contract=(1, 1))
    return dx_ND, _dot(x_ND, dy_NF, dtype=dtype, contract=(0, 0))


matmul.defvjp(_forward, _backward)


def _dot(a: jax.Array, b: jax.Array, *, dtype: str, contract: tuple[int, int]) -> jax.Array:
    return lax.dot_general(
        a.astype(dtype),
        b.astype(dtype),
        (((contract[0],), (contract[1],)), ((), ())),
        precision=lax.Precision.HIGHEST if dtype == "float32" else None,
        preferred_element_type=jnp.float32,
    )


CONV_AXES = (None, None, None, "tensor?")  # of a convolution's kernel


def conv(
    x_BHWC: jax.Array, kernel: jax.Array, *, strides: int, padding: int, dtype: str
) -> jax.Array:
    """A convolution with operands in `dtype`, float32 (B, H', W', F).

    On a CPU it is patches and a matmul: XLA's gradients of convolutions are slow there. Elsewhere
    it is the backend's own convolution; the two agree to rounding.

    Args:
      kernel: float32 (size, size, C, F); mesh axes split it as `CONV_AXES` says.
      padding: zeros on each side of the image.
    """
    if jax.default_backend() == "cpu":
        return conv_by_matmul(x_BHWC, kernel, strides=strides, padding=padding, dtype=dtype)
    return lax.conv_general_dilated(
        x_BHWC.astype(dtype),
        at_use(kernel.astype(dtype), *CONV_AXES),
        (strides, strides),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST if dtype == "float32" else None,
    ).astype(jnp.float32)


def conv_by_matmul(
    x_BHWC: jax.Array, kernel: jax.Array, *, strides: int, padding: int, dtype: str
) -> jax.Array:
    """`conv` as one matmul of all patches of the image."""
    size, _, num_channels, features = kernel.shape
    if padding:
        x_BHWC = jnp.pad(x_BHWC, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = ((n - size) // strides + 1 for n in x_BHWC.shape[1:3])
    across = lambda i, n: slice(i, i + (n - 1) * strides + 1, strides)  # noqa: E731
    patches = [
        x_BHWC[:, across(i, height), across(j, width)] for i in range(size) for j in range(size)
    ]
    patches_ND = jnp.concatenate(patches, -1).reshape(-1, size * size * num_channels)
    y_NF = matmul(patches_ND, kernel.reshape(-1, features), dtype, CONV_AXES[-2:])
    return y_NF.reshape(-1, height, width, features)


def max_pool(x_BHWC: jax.Array) -> jax.Array:
    """The largest of each 2 by 2 window, a last odd row or column left out.

    As two maxima: the gradient of `nn.max_pool` scatters, which is slow on a CPU.
    """
    height, width = (n // 2 * 2 for n in x_BHWC.shape[1:3])
    x_BHWC = x_BHWC[:, :height, :width]
    x_BHWC = jnp.maximum(x_BHWC[:, 0::2], x_BHWC[:, 1::2])
    return jnp.maximum(x_BHWC[:, :, 0::2], x_BHWC[:, :, 1::2])


# Where arrays lie while a model computes. Left to itself XLA may split features of activations, as
# those of a fully sharded parameter are, and then sends every device the whole batch. So layers say
# it of their parameters, and models of what goes from one layer to the next. Where no mesh is set,
# or an axis does not divide a dimension, nothing is said.


def split_rows(x: jax.Array) -> jax.Array:
    """x (B, ...), of which each device holds whole rows: all mesh axes but `tensor` split them."""
    mesh = jax.sharding.get_abstract_mesh()
    axes = tuple(name for name in mesh.axis_names if name != "tensor")
    if mesh.size <= 1 or x.shape[0] % math.prod(mesh.shape[name] for name in axes):
        return x
    return lax.with_sharding_constraint(x, PartitionSpec(axes))


def at_use(param: jax.Array, *axes: str | None) -> jax.Array:
    """A parameter as a layer uses it: split over the mesh axes of its dimensions, and gathered over
    all others, such as those that fully sharded parameters are stored over."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size <= 1:
        return param
    spec = (axis and axis.removesuffix("?") for axis in axes)
    divides = lambda size, axis: axis is None or size % mesh.shape[axis] == 0  # noqa: E731
    spec = (axis if divides(size, axis) else None for size, axis in zip(param.shape, spec))
    return lax.with_sharding_constraint(param, PartitionSpec(*spec))


_SHARE = 2 / 3  # of the tokens, at most, for which the rest are left out
_LEAST = 512  # tokens, fewer than which are not worth it


def on_one_cpu() -> bool:
    """Whether what is traced is for a CPU, and for one device alone."""
    return jax.default_backend() == "cpu" and jax.sharding.get_abstract_mesh().size <= 1


def of_chosen(
    function: Callable[..., jax.Array], *arrays_BLD: jax.Array, chosen_BL: jax.Array
) -> jax.Array:
    """`function` of arrays of tokens, each by itself, at those that are chosen, bool (B, L), and
    zeros at the others; where most are chosen it is computed for all."""
    assert all(x.shape[:2] == chosen_BL.shape for x in arrays_BLD), "a token each"
    num = chosen_BL.size
    most = int(num * _SHARE)
    if num < _LEAST:
        return function(*arrays_BLD)

    def of_some() -> jax.Array:
        (at,) = jnp.nonzero(chosen_BL.reshape(-1), size=most, fill_value=num)
        y_ND = function(*(x.reshape(num, -1)[jnp.minimum(at, num - 1)] for x in arrays_BLD))
        out_ND = jnp.zeros((num, y_ND.shape[-1]), y_ND.dtype).at[at].set(y_ND, mode="drop")
        return out_ND.reshape(*chosen_BL.shape, -1)

    return lax.cond(chosen_BL.sum() <= most, of_some, lambda: function(*arrays_BLD))


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
        seeds_B = _mix(self.seed + self.rows_B.astype(jnp.uint32) * jnp.uint32(0x9E3779B9))
        bits = _mix(within ^ seeds_B.reshape((-1,) + (1,) * (x.ndim - 1)))
        keep = bits >= jnp.uint32(round(rate * 2**32))
        return jnp.where(keep, x * (1.0 / (1.0 - rate)), 0.0).astype(x.dtype)


NO_DROPOUT = Dropout(None, None)


def dropout_of(batch: Mapping[str, jax.Array], key: jax.Array | None) -> Dropout:
    """The dropout of an update on a batch, by its `row`; none where there is no key."""
    if key is None:
        return NO_DROPOUT
    return Dropout(jax.random.bits(key, dtype=jnp.uint32), batch["row"])


def _mix(x: jax.Array) -> jax.Array:
    """A 32-bit integer hash with low bias (two xorshift-multiply rounds)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
