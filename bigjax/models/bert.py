"""Owns the BERT encoder: a Flax linen module with pure init/apply over packed rows.

Where its weights come from belongs to `models/huggingface.py`; heads belong to the tasks.

A row holds several sentences: `segments` numbers them from 1 (0 is padding), `positions` restart in
each, and attention never crosses from one to another. Devlin et al. 2018, post-norm as published.

Suffixes: B batch rows, L row length, D model, H heads, K head dim, F feed-forward.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config.fields import Between
from bigjax.models import ops

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": ops.gelu,
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a checkpoint fixes: the shapes of the parameters and the constants they were trained
    with."""

    vocab_size: int
    num_layers: int
    hidden_size: int
    num_heads: int
    mlp_size: int
    max_positions: int
    position_offset: int = 0  # RoBERTa counts positions from padding_idx + 1.
    num_token_types: int = 2  # 0: the model has no token type embedding (DistilBERT).
    activation: str = "gelu"
    norm_eps: float = 1e-12
    # None: as hidden_size. Where it is another, a projection follows the embeddings (ELECTRA).
    embedding_size: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """What a run chooses freely: the same parameters give the same function."""

    dropout: Annotated[
        float, Between(0, 0.99), "share of features set to 0 at random in training"
    ] = 0.1
    attention_dropout: Annotated[
        float, Between(0, 0.99), "share of attention weights set to 0 at random in training"
    ] = 0.1
    dtype: Annotated[
        Literal["float32", "bfloat16"],
        "type of what layers compute; bfloat16 is faster where hardware has it, and less exact",
    ] = "float32"
    remat: Annotated[
        Literal["none", "dots", "full"],
        "what a layer computes again in the backward pass to save memory: nothing, all but its "
        "matrix products, or everything",
    ] = "none"
    scan_layers: Annotated[
        bool, "keeps the layers' parameters in one array each: compiles faster where they are many"
    ] = False


class Encoder(nn.Module):
    """The encoder of BERT: embeddings and post-norm Transformer layers."""

    sizes: Sizes
    compute: Compute

    @nn.compact
    def __call__(
        self,
        tokens_BL: jax.Array,
        *,
        segments_BL: jax.Array,
        positions_BL: jax.Array,
        delta_BLE: jax.Array | None = None,
        dropout: ops.Dropout = ops.NO_DROPOUT,
        read_BL: jax.Array | None = None,
    ) -> jax.Array:
        """The last hidden states, float32 or bfloat16 (B, L, D).

        Args:
          tokens_BL: int32 ids.
          segments_BL: int32, 1 for the first sentence of a row, 2 for the second, 0 for padding.
          positions_BL: int32 position of each token in its own sentence, from 0.
          delta_BLE: what is added to the embedding of each token's word, for what asks how the
            function depends on it.
          dropout: the random bits of this call; `ops.NO_DROPOUT` to evaluate.
          read_BL: bool, the tokens whose last states are read: those of others may be zeros, where
            that saves work. None: all.
        """
        sizes, compute = self.sizes, self.compute
        width = sizes.embedding_size or sizes.hidden_size
        embed = functools.partial(ops.Embed, features=width, init_std=0.02)
        x_BLD = embed(sizes.vocab_size, name="word")(tokens_BL)
        if delta_BLE is not None:
            x_BLD += delta_BLE
        x_BLD += embed(sizes.max_positions, name="position")(positions_BL + sizes.position_offset)
        if sizes.num_token_types:
            x_BLD += embed(sizes.num_token_types, name="token_type")(jnp.zeros_like(tokens_BL))
        x_BLD = _norm(sizes, "norm")(x_BLD)
        x_BLD = dropout.at(0)(x_BLD, rate=compute.dropout)
        if width != sizes.hidden_size:
            x_BLD = ops.Dense(sizes.hidden_size, dtype=compute.dtype, name="project")(x_BLD)

        same_BLL = (segments_BL[:, :, None] == segments_BL[:, None, :]) & (
            segments_BL[:, None, :] > 0
        )
        block = _with_remat(Layer, policy=compute.remat)
        if compute.scan_layers:
            layers = nn.scan(
                block,
                variable_axes={"params": 0},
                metadata_params={nn.PARTITION_NAME: None},  # no mesh axis splits the layers
                split_rngs={"params": True},
                in_axes=(0, nn.broadcast, nn.broadcast),
                length=sizes.num_layers,
            )
            index = jnp.arange(1, sizes.num_layers + 1, dtype=jnp.uint32)
            x_BLD, _ = layers(sizes, compute, name="layers")(x_BLD, index, same_BLL, dropout)
        else:
            for i in range(sizes.num_layers):
                layer = block(sizes, compute, name=f"layer_{i}")
                read = read_BL if i + 1 == sizes.num_layers else None
                x_BLD, _ = layer(x_BLD, jnp.uint32(i + 1), same_BLL, dropout, read)
        return x_BLD


class Layer(nn.Module):
    """One post-norm layer: self-attention, then the feed-forward network."""

    sizes: Sizes
    compute: Compute

    @nn.compact
    def __call__(
        self,
        x_BLD: jax.Array,
        index: jax.Array,
        same_BLL: jax.Array,
        dropout: ops.Dropout,
        read_BL: jax.Array | None = None,
    ) -> tuple[jax.Array, None]:
        sizes, compute = self.sizes, self.compute
        split = functools.partial(ops.Dense, dtype=compute.dtype, axes=(None, "tensor"))
        join = functools.partial(ops.Dense, dtype=compute.dtype, axes=("tensor", None))
        num_heads = sizes.num_heads
        drop = dropout.at(index)

        q_BLHK, k_BLHK, v_BLHK = (
            _split_heads(split(sizes.hidden_size, name=name)(x_BLD), num_heads=num_heads)
            for name in ("query", "key", "value")
        )
        y_BLHK = _attention(q_BLHK, k_BLHK, v_BLHK, same_BLL, drop, compute.attention_dropout)
        y_BLD = y_BLHK.reshape(x_BLD.shape)
        out, attention_norm = join(sizes.hidden_size, name="out"), _norm(sizes, "attention_norm")
        up, down = split(sizes.mlp_size, name="up"), join(sizes.hidden_size, name="down")
        mlp_norm = _norm(sizes, "mlp_norm")

        def each_token(x_BLD: jax.Array, y_BLD: jax.Array) -> jax.Array:
            x_BLD = attention_norm(x_BLD + drop.site(1)(out(y_BLD), rate=compute.dropout))
            y_BLD = down(ACTIVATIONS[sizes.activation](up(x_BLD)))
            return mlp_norm(x_BLD + drop.site(2)(y_BLD, rate=compute.dropout))

        if read_BL is None or drop.seed is not None or not ops.on_one_cpu():
            return ops.split_rows(each_token(x_BLD, y_BLD)), None
        return ops.of_chosen(each_token, x_BLD, y_BLD, chosen_BL=read_BL), None


def encode(
    encoder: Encoder,
    batch: Mapping[str, jax.Array],
    dropout: ops.Dropout,
    *,
    read_BL: jax.Array | None = None,
) -> jax.Array:
    """The last hidden states of a batch of packed rows: tokens, segments, positions, and in what
    asks how the function depends on it `embedding_delta`. The rest is as of `Encoder`."""
    return encoder(
        batch["tokens"],
        segments_BL=batch["segments"],
        positions_BL=batch["positions"],
        delta_BLE=batch.get("embedding_delta"),
        dropout=dropout,
        read_BL=read_BL,
    )


def model_layer_depths(params: Any, *, num_layers: int) -> Any:
    """Of the params of a model whose "encoder" this is: what else there is lies above it."""
    above = lambda tree: jax.tree.map(lambda _: num_layers + 1, tree)  # noqa: E731
    depths = layer_depths(params["encoder"], num_layers=num_layers)
    return {name: depths if name == "encoder" else above(tree) for name, tree in params.items()}


def layer_depths(params: Any, *, num_layers: int) -> Any:
    """For each leaf of the encoder's params its depth, for layer-wise learning rates: 0 for the
    embeddings, i + 1 for layer i; for scanned layers an array (num_layers, 1, ...)."""

    def depth(path: tuple[Any, ...], leaf: Any) -> Any:
        top = path[0].key
        if top == "layers":
            return np.arange(1, num_layers + 1).reshape((-1,) + (1,) * (leaf.ndim - 1))
        return int(top.removeprefix("layer_")) + 1 if top.startswith("layer_") else 0

    return jax.tree_util.tree_map_with_path(depth, params)


def _attention(q_BLHK, k_BLHK, v_BLHK, same_BLL, drop, rate):  # noqa: ANN001
    scale = q_BLHK.shape[-1] ** -0.5
    logits_BHLL = jnp.einsum(
        "blhk,bmhk->bhlm", q_BLHK * scale, k_BLHK, preferred_element_type=jnp.float32
    )
    # Finite, so that an all-padding row gives a uniform softmax and not nan.
    logits_BHLL = jnp.where(same_BLL[:, None], logits_BHLL, -1e9)
    if drop.seed is None and ops.on_one_cpu():
        # A softmax whose sum divides the result: fewer divisions, but a slower gradient.
        weights_BHLL = jnp.exp(logits_BHLL - logits_BHLL.max(axis=-1, keepdims=True))
        y_BHLK = jnp.einsum("bhlm,bmhk->bhlk", weights_BHLL.astype(v_BLHK.dtype), v_BLHK)
        y_BHLK /= weights_BHLL.sum(axis=-1, keepdims=True)
        return y_BHLK.swapaxes(1, 2).astype(v_BLHK.dtype)
    probs_BHLL = jax.nn.softmax(logits_BHLL, axis=-1)
    probs_BHLL = drop.site(0)(probs_BHLL, rate=rate).astype(v_BLHK.dtype)
    return jnp.einsum("bhlm,bmhk->blhk", probs_BHLL, v_BLHK)


def _split_heads(x_BLD: jax.Array, *, num_heads: int) -> jax.Array:
    return x_BLD.reshape(*x_BLD.shape[:-1], num_heads, -1)


def _norm(sizes: Sizes, name: str) -> ops.LayerNorm:
    return ops.LayerNorm(sizes.norm_eps, name=name)


def _with_remat(layer: type[nn.Module], *, policy: str) -> Any:
    if policy == "none":
        return layer
    policies = {"dots": jax.checkpoint_policies.save_only_these_names(ops.PRODUCT), "full": None}
    return nn.remat(layer, policy=policies[policy], prevent_cse=False)
