"""Owns the function that is trained on hidden tokens: packed rows to a logit for each entry of the
vocabulary at each slot, and what a batch comes to.

The encoder is `models/bert.py`'s. Logits are computed at slots alone, and the output table is the
one of the input (Press & Wolf 2017). Suffixes: B batch rows, L row length, S slots, N rows of a
matrix, D features of the encoder, E features of an embedding, V vocabulary, K best.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigjax.models import bert, ops
from bigjax.scores.metrics import Mean
from bigjax.tasks.task import Model, Outputs, Pretrained, Sums


class Head(nn.Module):
    """BERT's: a dense layer, an activation and a norm, then the table and a bias."""

    sizes: bert.Sizes
    compute: bert.Compute
    activation: str

    @nn.compact
    def __call__(self, x_ND: jax.Array, table_VE: jax.Array) -> jax.Array:
        """Logits float32 (N, V)."""
        num_entries, width = table_VE.shape
        x_NE = ops.Dense(width, dtype=self.compute.dtype, name="dense")(x_ND)
        x_NE = bert.ACTIVATIONS[self.activation](x_NE)
        x_NE = ops.LayerNorm(self.sizes.norm_eps, name="norm")(x_NE)
        bias_V = self.param("bias", nn.initializers.zeros_init(), (num_entries,))
        # Over `tensor` devices each has the logits of a part of the vocabulary.
        logits_NV = ops.matmul(x_NE, table_VE.T, self.compute.dtype, (None, "tensor?"))
        return logits_NV + ops.at_use(bias_V, "tensor?")[None]


class MaskedLM(nn.Module):
    """An encoder and the head over its last hidden states at `slots`; where a batch has none, at
    every position."""

    sizes: bert.Sizes
    compute: bert.Compute
    activation: str = "gelu"

    @nn.compact
    def __call__(self, batch: Mapping[str, jax.Array], dropout: ops.Dropout) -> jax.Array:
        """Logits float32 (B, S, V), or (B, L, V)."""
        encoder = bert.Encoder(self.sizes, self.compute, name="encoder")
        x_BSD = bert.encode(encoder, batch, dropout)
        if "slots" in batch:
            x_BSD = jnp.take_along_axis(x_BSD, batch["slots"][..., None], axis=1)
        table_VE = encoder.variables["params"]["word"]["embedding"]
        head = Head(self.sizes, self.compute, self.activation, name="head")
        logits_NV = head(x_BSD.reshape(-1, x_BSD.shape[-1]), table_VE)
        return logits_NV.reshape(*x_BSD.shape[:2], -1)


def make_model(
    network: MaskedLM,
    *,
    num_best: int,
    pretrained: Callable[[], Pretrained] | None,
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]] | None = None,
) -> Model:
    """num_best: how many of the likeliest tokens are told of a slot of which nothing is asked.
    pretrained, adopt: as `Model` has them."""
    return Model(
        init=functools.partial(_init, network),
        apply=functools.partial(_apply, network, num_best=num_best),
        train_sums=_sums,
        eval_sums=_sums,
        layer_depths=functools.partial(
            bert.model_layer_depths, num_layers=network.sizes.num_layers
        ),
        pretrained=pretrained,
        adopt=adopt,
        embedding_size=network.sizes.embedding_size or network.sizes.hidden_size,
    )


def _init(network: MaskedLM, key: jax.Array) -> Any:
    zeros = jnp.zeros((1, 8), jnp.int32)
    batch = {"tokens": zeros, "segments": zeros, "positions": zeros, "slots": zeros[:, :1]}
    return network.init(key, batch, ops.NO_DROPOUT)


def _apply(
    network: MaskedLM,
    variables: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array | None,
    *,
    num_best: int,
) -> tuple[Outputs, Any]:
    """log_prob float32 (B, S), of the token that is `asked` about, and best int32 (B, S), the
    likeliest; or where nothing is asked best int32 and log_prob float32 (B, S, K) of the likeliest.

    Not the logits: of a vocabulary they are too many to leave the devices.
    """
    logits_BSV = network.apply(variables, batch, ops.dropout_of(batch, key))
    if "asked" not in batch:
        log_probs_BSV = jax.nn.log_softmax(logits_BSV)
        log_prob_BSK, best_BSK = jax.lax.top_k(log_probs_BSV, num_best)
        return {"best": best_BSK, "log_prob": log_prob_BSK}, {}
    # A sum, and not a gather, which over `tensor` devices would bring all logits to each.
    entries_V = jnp.arange(logits_BSV.shape[-1])[None, None]
    is_asked_BSV = batch["asked"][..., None] == entries_V
    asked_BS = jnp.sum(logits_BSV, where=is_asked_BSV, axis=-1)
    log_prob_BS = asked_BS - jax.nn.logsumexp(logits_BSV, axis=-1)
    return {"log_prob": log_prob_BS, "best": jnp.argmax(logits_BSV, axis=-1)}, {}


def _sums(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
    right_BS = outputs["best"] == batch["asked"]
    return {
        "loss": Mean.of(-outputs["log_prob"], batch["mask"]),
        "masked_accuracy": Mean.of(right_BS, batch["mask"]),
    }
