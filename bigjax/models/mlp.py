"""Owns the networks of tables: linear, perceptrons of several layers, and residual ones.

What the columns are belongs to `data/tables/`. A network takes numbers float32 (B, N) and codes of
categories int32 (B, M), of which code 0 of each column is "none of those known", and gives float32
(B, outputs). `mask_B` says which rows exist, for batch statistics.

Suffixes: B batch rows, N numbers, M columns of categories, D features.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.models import ops
from bigjax.models.cnn import BatchNorm

Network = Callable[..., nn.Module]  # (outputs=, num_codes=) -> module

HE = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")  # He et al. 2015
LECUN = nn.initializers.lecun_normal()
ZEROS = nn.initializers.zeros_init()
ACTIVATIONS = {"relu": nn.relu, "gelu": ops.gelu, "silu": nn.silu, "tanh": jnp.tanh}


class Inputs(nn.Module):
    """Numbers beside categories: columns of few codes as ones and zeros, others as embeddings."""

    num_codes: tuple[int, ...]
    one_hot_up_to: float
    embedding_size: int | None = None

    @nn.compact
    def __call__(self, numbers_BN: jax.Array, codes_BM: jax.Array) -> jax.Array:
        parts = [numbers_BN]
        for i, num in enumerate(self.num_codes):
            codes_B = codes_BM[:, i]
            if num - 1 <= self.one_hot_up_to:  # besides the code of what is not known
                parts.append(jax.nn.one_hot(codes_B, num, dtype=jnp.float32))
                continue
            size = self.embedding_size or min(50, round(1.6 * num**0.56))  # the rule of fastai
            embed = ops.Embed(num, size, init_std=1 / size**0.5, name=f"embed_{i}")
            parts.append(embed(codes_B))
        return jnp.concatenate(parts, -1)


class Linear(nn.Module):
    """A weighted sum of the inputs, categories as ones and zeros; it begins at zero."""

    outputs: int
    num_codes: tuple[int, ...]

    @nn.compact
    def __call__(
        self, numbers_BN: jax.Array, codes_BM: jax.Array, *, mask_B: jax.Array, dropout: ops.Dropout
    ) -> jax.Array:
        del mask_B, dropout
        x_BD = Inputs(self.num_codes, jnp.inf, name="inputs")(numbers_BN, codes_BM)
        return ops.Dense(self.outputs, kernel_init=ZEROS, name="head")(x_BD)


class MLP(nn.Module):
    """Layers of features, each with batch normalisation where that is asked for, and dropout."""

    outputs: int
    num_codes: tuple[int, ...]
    widths: tuple[int, ...]
    activation: str
    rate: float
    batch_norm: bool
    dtype: str
    inputs: Callable[..., nn.Module]

    @nn.compact
    def __call__(
        self, numbers_BN: jax.Array, codes_BM: jax.Array, *, mask_B: jax.Array, dropout: ops.Dropout
    ) -> jax.Array:
        train = dropout.rows_B is not None
        x_BD = self.inputs(self.num_codes, name="inputs")(numbers_BN, codes_BM)
        for i, features in enumerate(self.widths):
            x_BD = ops.Dense(features, self.dtype, kernel_init=HE, name=f"hidden_{i}")(x_BD)
            if self.batch_norm:
                x_BD = _norm(x_BD, BatchNorm(mask_B, train, name=f"norm_{i}"))
            x_BD = ACTIVATIONS[self.activation](ops.split_rows(x_BD))
            x_BD = dropout.at(i)(x_BD, rate=self.rate)
        return ops.Dense(self.outputs, self.dtype, kernel_init=LECUN, name="head")(x_BD)


class ResidualMLP(nn.Module):
    """Blocks that add to what they get, each with batch normalisation before it: the ResNet of
    Gorishniy et al. 2021."""

    outputs: int
    num_codes: tuple[int, ...]
    width: int
    num_blocks: int
    expansion: float
    rate: float
    dtype: str
    inputs: Callable[..., nn.Module]

    @nn.compact
    def __call__(
        self, numbers_BN: jax.Array, codes_BM: jax.Array, *, mask_B: jax.Array, dropout: ops.Dropout
    ) -> jax.Array:
        train = dropout.rows_B is not None
        dense = functools.partial(ops.Dense, dtype=self.dtype, kernel_init=HE)
        norm = functools.partial(BatchNorm, mask_B, train)
        x_BD = self.inputs(self.num_codes, name="inputs")(numbers_BN, codes_BM)
        x_BD = dense(self.width, kernel_init=LECUN, name="stem")(x_BD)
        for i in range(self.num_blocks):
            y_BD = _norm(x_BD, norm(name=f"norm_{i}"))
            y_BD = dense(round(self.expansion * self.width), name=f"block_{i}_in")(y_BD)
            y_BD = dropout.at(i)(nn.relu(ops.split_rows(y_BD)), rate=self.rate)
            x_BD += dense(self.width, kernel_init=LECUN, name=f"block_{i}_out")(y_BD)
        x_BD = nn.relu(_norm(x_BD, norm(name="norm_head")))
        return ops.Dense(self.outputs, self.dtype, kernel_init=LECUN, name="head")(x_BD)


def _norm(x_BD: jax.Array, norm: BatchNorm) -> jax.Array:
    """As if each row were an image of one pixel."""
    return norm(x_BD[:, None, None])[:, 0, 0]


# --- what the config's `model` section may be ---

DType = Annotated[Literal["float32", "bfloat16"], "type of what layers compute"]
Rate = Annotated[float, Between(0, 0.99), "share of features that dropout takes away in training"]
OneHot = Annotated[
    int,
    AtLeast(0),
    "columns of categories with at most so many are ones and zeros; others embedded",
]
Size = Annotated[
    int | None, AtLeast(1), "features of an embedding; None: by the number of categories, up to 50"
]


def linear() -> Network:
    """Linear, logistic or softmax regression, by what the target is; see loss.l2."""
    return Linear


def mlp(
    *,
    widths: Annotated[tuple[int, ...], AtLeast(1), "features of each hidden layer"] = (64, 32),
    activation: Annotated[
        Literal["relu", "gelu", "silu", "tanh"], "what bends the features of each hidden layer"
    ] = "relu",
    dropout: Rate = 0.1,
    batch_norm: Annotated[bool, "batch normalisation in each hidden layer"] = False,
    one_hot_up_to: OneHot = 10,
    embedding_size: Size = None,
    dtype: DType = "float32",
) -> Network:
    """A perceptron of several layers."""
    return functools.partial(
        MLP,
        widths=widths,
        activation=activation,
        rate=dropout,
        batch_norm=batch_norm,
        dtype=dtype,
        inputs=_inputs(one_hot_up_to, embedding_size),
    )


def residual_mlp(
    *,
    width: Annotated[int, AtLeast(1), "features between blocks"] = 64,
    num_blocks: Annotated[int, AtLeast(1), "how many blocks add to them"] = 2,
    expansion: Annotated[float, AtLeast(0.1), "features inside a block, as a multiple"] = 2.0,
    dropout: Rate = 0.1,
    one_hot_up_to: OneHot = 10,
    embedding_size: Size = None,
    dtype: DType = "float32",
) -> Network:
    """A perceptron of residual blocks with batch normalisation (Gorishniy et al. 2021)."""
    return functools.partial(
        ResidualMLP,
        width=width,
        num_blocks=num_blocks,
        expansion=expansion,
        rate=dropout,
        dtype=dtype,
        inputs=_inputs(one_hot_up_to, embedding_size),
    )


def _inputs(one_hot_up_to: int, embedding_size: int | None) -> Any:
    return functools.partial(Inputs, one_hot_up_to=one_hot_up_to, embedding_size=embedding_size)


NETWORKS = {fn.__name__: fn for fn in (linear, mlp, residual_mlp)}
TABLE_NETWORK = Choice("name", NETWORKS, "the network")
