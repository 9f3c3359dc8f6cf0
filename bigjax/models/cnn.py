"""Owns the convolutional networks: the small tutorial network, a fast one, and residual networks.

How pixels are read and augmented belongs to `data/`; the fast forms of layers to `ops.py`.

A network takes pixels scaled to [-1, 1] and gives float32 logits (B, K). `mask_B` says which rows
exist: batch statistics are those of the whole global batch without the rows that only pad it.

Suffixes: B batch rows, H height, W width, C channels, D features, K classes.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.errors import UserError
from bigjax.models import ops

DType = Annotated[
    Literal["float32", "bfloat16"],
    "type of what layers compute; bfloat16 is faster where hardware has it, and less exact",
]
Network = Callable[..., nn.Module]  # (num_classes=) -> module

HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")  # He et al. 2015
GLOROT = nn.initializers.glorot_uniform()


class Conv(nn.Module):
    """A square convolution with `padding` zeros around the image; UserError where it is larger."""

    features: int
    size: int = 3
    strides: int = 1
    padding: int = 0
    dtype: str = "float32"
    kernel_init: Any = HE

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        height, width = x_BHWC.shape[1:3]
        if min(height, width) + 2 * self.padding < self.size:
            raise UserError(
                f"the images are too small for this network: {height}x{width} pixels reach its "
                f"{self.size}x{self.size} convolution {self.name!r} of padding {self.padding}; "
                "expected larger images (data.image_size), or a network for small ones, such as "
                "small_cnn with model.padding=1"
            )
        shape = (self.size, self.size, x_BHWC.shape[-1], self.features)
        kernel_init = nn.with_partitioning(self.kernel_init, ops.CONV_AXES)
        kernel = self.param("kernel", kernel_init, shape)
        y_BHWC = ops.conv(
            x_BHWC, kernel, strides=self.strides, padding=self.padding, dtype=self.dtype
        )
        return ops.split_rows(y_BHWC)


class Bias(nn.Module):
    """Adds a number to each channel."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        bias_C = self.param("bias", nn.initializers.zeros_init(), (x_BHWC.shape[-1],))
        return x_BHWC + bias_C.reshape(1, 1, 1, -1)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) over the rows of the global batch that exist.

    Running statistics are the collection "batch_stats". jit over global arrays makes the sums those
    of all devices. The variance is the biased one, in two passes, as is what it averages.
    """

    mask_B: jax.Array
    train: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Any = nn.initializers.ones_init()

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        size = x_BHWC.shape[-1]
        scale_C = self.param("scale", self.scale_init, (size,))
        bias_C = self.param("bias", nn.initializers.zeros_init(), (size,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (size,))
        var = self.variable("batch_stats", "var", jnp.ones, (size,))
        mean_C, var_C = mean.value, var.value
        x_BHWC = x_BHWC.astype(jnp.float32)
        if self.train:
            weight_B = self.mask_B.astype(jnp.float32).reshape(-1, 1, 1, 1)
            num_rows = weight_B.sum()
            count = jnp.maximum(num_rows * (x_BHWC.shape[1] * x_BHWC.shape[2]), 1)
            mean_C = (x_BHWC * weight_B).sum((0, 1, 2)) / count
            centred = (x_BHWC - _channels(mean_C)) * weight_B
            var_C = jnp.square(centred).sum((0, 1, 2)) / count
            if not self.is_initializing():
                momentum = jnp.where(num_rows > 0, self.momentum, 1.0)  # no rows say nothing
                mean.value = momentum * mean.value + (1 - momentum) * mean_C
                var.value = momentum * var.value + (1 - momentum) * var_C
        factor_C = scale_C * jax.lax.rsqrt(var_C + self.epsilon)
        return x_BHWC * _channels(factor_C) + _channels(bias_C - mean_C * factor_C)


class SmallCNN(nn.Module):
    """Three convolutions with a bias and two dense layers: the network of TensorFlow's tutorial
    "Convolutional Neural Network (CNN)"; 122,570 parameters for CIFAR-10."""

    num_classes: int
    padding: int
    dtype: str

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, *, mask_B: jax.Array, train: bool) -> jax.Array:
        del mask_B, train  # each row by itself, the same in training
        conv = functools.partial(Conv, padding=self.padding, dtype=self.dtype, kernel_init=GLOROT)
        for i, features in enumerate((32, 64, 64)):
            x_BHWC = conv(features, name=f"conv_{i}")(x_BHWC)
            # The largest of four, then bias and relu: the same numbers, at a quarter of the cost.
            x_BHWC = ops.max_pool(x_BHWC) if i < 2 else x_BHWC
            x_BHWC = nn.relu(Bias(name=f"bias_{i}")(x_BHWC))
        x_BD = x_BHWC.reshape(x_BHWC.shape[0], -1)
        dense = functools.partial(ops.Dense, dtype=self.dtype, kernel_init=GLOROT)
        return dense(self.num_classes, name="head")(nn.relu(dense(64, name="dense")(x_BD)))


class FastCNN(nn.Module):
    """A network for few FLOPs: strided patches, then stages of one convolution and one residual
    one. After the ResNet-9 of the DAWNBench entries (Page 2018), a quarter as wide, and as there
    with small logits, without which a high learning rate unlearns at once."""

    num_classes: int
    widths: tuple[int, ...]
    dtype: str
    momentum: float

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, *, mask_B: jax.Array, train: bool) -> jax.Array:
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, mask_B, train, self.momentum)
        first, *rest = self.widths
        x_BHWC = conv(first, size=2, strides=2, name="patches")(x_BHWC)
        x_BHWC = nn.relu(norm(name="patches_norm")(x_BHWC))
        for i, features in enumerate(rest):
            x_BHWC = conv(features, padding=1, name=f"conv_{i}")(x_BHWC)
            x_BHWC = ops.max_pool(x_BHWC) if x_BHWC.shape[1] > 3 else x_BHWC
            x_BHWC = nn.relu(norm(name=f"norm_{i}")(x_BHWC))
            y_BHWC = conv(features, padding=1, name=f"residual_{i}")(x_BHWC)
            x_BHWC += nn.relu(norm(name=f"residual_norm_{i}")(y_BHWC))
        x_BC = x_BHWC.max((1, 2))
        return 0.125 * ops.Dense(self.num_classes, name="head")(x_BC)


class ResNet(nn.Module):
    """Residual networks (He et al. 2015), the strides of a bottleneck in its 3x3 convolution."""

    num_classes: int
    stages: tuple[int, ...]
    block: Callable[..., nn.Module]
    stem: str
    dtype: str
    remat: str

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, *, mask_B: jax.Array, train: bool) -> jax.Array:
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, mask_B, train)
        if self.stem == "cifar":
            x_BHWC = conv(64, padding=1, name="stem")(x_BHWC)
        else:
            x_BHWC = conv(64, size=7, strides=2, padding=3, name="stem")(x_BHWC)
        x_BHWC = nn.relu(norm(name="stem_norm")(x_BHWC))
        if self.stem != "cifar":
            edges = ((0, 0), (1, 1), (1, 1), (0, 0))
            padded = jnp.pad(x_BHWC, edges)  # after relu: zeros
            x_BHWC = nn.max_pool(padded, window_shape=(3, 3), strides=(2, 2))
        block = self.block if self.remat == "none" else nn.remat(self.block, prevent_cse=False)
        for i, num_blocks in enumerate(self.stages):
            for j in range(num_blocks):
                strides = 2 if i and not j else 1
                name = f"stage_{i}_block_{j}"
                x_BHWC = block(64 * 2**i, strides, conv, norm, name=name)(x_BHWC)
        x_BC = x_BHWC.mean((1, 2), dtype=jnp.float32)
        return ops.Dense(self.num_classes, name="head")(x_BC)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    features: int
    strides: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        y_BHWC = self.conv(self.features, strides=self.strides, padding=1, name="conv_0")(x_BHWC)
        y_BHWC = nn.relu(self.norm(name="norm_0")(y_BHWC))
        y_BHWC = self.conv(self.features, padding=1, name="conv_1")(y_BHWC)
        return _join(self, x_BHWC, y_BHWC, last="norm_1")


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, four times as wide at its end, and a shortcut."""

    features: int
    strides: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        y_BHWC = self.conv(self.features, size=1, name="conv_0")(x_BHWC)
        y_BHWC = nn.relu(self.norm(name="norm_0")(y_BHWC))
        y_BHWC = self.conv(self.features, strides=self.strides, padding=1, name="conv_1")(y_BHWC)
        y_BHWC = nn.relu(self.norm(name="norm_1")(y_BHWC))
        y_BHWC = self.conv(4 * self.features, size=1, name="conv_2")(y_BHWC)
        return _join(self, x_BHWC, y_BHWC, last="norm_2")


def _join(block: Any, x_BHWC: jax.Array, y_BHWC: jax.Array, *, last: str) -> jax.Array:
    """The branch added to its shortcut. A block starts as the identity (Goyal et al. 2017)."""
    y_BHWC = block.norm(name=last, scale_init=nn.initializers.zeros_init())(y_BHWC)
    if x_BHWC.shape != y_BHWC.shape:
        conv = block.conv(y_BHWC.shape[-1], size=1, strides=block.strides, name="shortcut")
        x_BHWC = block.norm(name="shortcut_norm")(conv(x_BHWC))
    return nn.relu(x_BHWC + y_BHWC)


def _channels(x_C: jax.Array) -> jax.Array:
    return x_C.reshape(1, 1, 1, -1)


# --- what the config's `model` section may be ---

Stem = Annotated[
    Literal["cifar", "imagenet"], "first layers, for images of about 32 or about 224 pixels"
]
Remat = Annotated[
    Literal["none", "full"],
    "'full' computes a block's activations again in the backward pass to save memory",
]


def small_cnn(
    *,
    padding: Annotated[
        int, AtLeast(0), "zeros around each image and layer; 1 keeps the size of small images"
    ] = 0,
    dtype: DType = "float32",
) -> Network:
    """Three convolutions and two dense layers: the network of TensorFlow's tutorial."""
    return functools.partial(SmallCNN, padding=padding, dtype=dtype)


def fast_cnn(
    *,
    widths: Annotated[
        tuple[int, ...], AtLeast(1), "channels of the first layer, then of each stage"
    ] = (32, 64, 128, 256),
    momentum: Annotated[float, Between(0, 1), "decay of the running batch statistics"] = 0.9,
    dtype: DType = "float32",
) -> Network:
    """A small residual network with batch normalisation, made for few operations."""
    return functools.partial(FastCNN, widths=widths, momentum=momentum, dtype=dtype)


def resnet18(*, stem: Stem = "cifar", dtype: DType = "float32", remat: Remat = "none") -> Network:
    """A residual network of 18 layers (He et al. 2015)."""
    sizes = {"stages": (2, 2, 2, 2), "block": BasicBlock}
    return functools.partial(ResNet, stem=stem, dtype=dtype, remat=remat, **sizes)


def resnet34(*, stem: Stem = "cifar", dtype: DType = "float32", remat: Remat = "none") -> Network:
    """A residual network of 34 layers."""
    sizes = {"stages": (3, 4, 6, 3), "block": BasicBlock}
    return functools.partial(ResNet, stem=stem, dtype=dtype, remat=remat, **sizes)


def resnet50(*, stem: Stem = "cifar", dtype: DType = "float32", remat: Remat = "none") -> Network:
    """A residual network of 50 layers, bottlenecks."""
    sizes = {"stages": (3, 4, 6, 3), "block": Bottleneck}
    return functools.partial(ResNet, stem=stem, dtype=dtype, remat=remat, **sizes)


NETWORKS = {fn.__name__: fn for fn in (small_cnn, fast_cnn, resnet18, resnet34, resnet50)}
NETWORK = Choice("name", NETWORKS, "the network")
