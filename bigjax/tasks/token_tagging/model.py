"""Owns the function that is trained on tagged text: packed rows to a logit for each tag of each
token, and what a batch's logits come to.

The encoder is `models/bert.py`'s. Suffixes: B batch rows, L row length, D model, T tags.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.models import bert, ops
from bigjax.scores.losses import cross_entropy
from bigjax.scores.metrics import Mean
from bigjax.tasks.classes import training_loss
from bigjax.tasks.task import Model, Outputs, Pretrained, Sums


class Tagger(nn.Module):
    """An encoder and a linear layer over its last hidden states: float32 logits (B, L, T)."""

    sizes: bert.Sizes
    compute: bert.Compute
    num_tags: int

    @nn.compact
    def __call__(self, batch: Mapping[str, jax.Array], dropout: ops.Dropout) -> jax.Array:
        x_BLD = bert.Encoder(self.sizes, self.compute, name="encoder")(
            batch["tokens"],
            segments_BL=batch["segments"],
            positions_BL=batch["positions"],
            dropout=dropout,
        )
        x_BLD = dropout.at(0).site(3)(x_BLD, rate=self.compute.dropout)
        return ops.Dense(self.num_tags, name="head")(x_BLD.astype(jnp.float32))


def make_model(
    tagger: Tagger,
    *,
    smoothing: float,
    weights_T: np.ndarray | None,
    pretrained: Callable[[], Pretrained] | None,
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]] | None = None,
) -> Model:
    """smoothing, weights_T: of the training loss. pretrained, adopt: as `Model` has them."""
    return Model(
        init=functools.partial(_init, tagger),
        apply=functools.partial(_apply, tagger),
        train_sums=functools.partial(_train_sums, smoothing=smoothing, weights_T=weights_T),
        eval_sums=_eval_sums,
        layer_depths=functools.partial(_layer_depths, num_layers=tagger.sizes.num_layers),
        pretrained=pretrained,
        adopt=adopt,
    )


def _init(tagger: Tagger, key: jax.Array) -> Any:
    zeros = jnp.zeros((1, 8), jnp.int32)
    batch = {"tokens": zeros, "segments": zeros, "positions": zeros}
    return tagger.init(key, batch, ops.NO_DROPOUT)


def _apply(
    tagger: Tagger, variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> tuple[Outputs, Any]:
    """logits float32 (B, L, T)."""
    dropout = ops.NO_DROPOUT
    if key is not None:
        dropout = ops.Dropout(jax.random.bits(key, dtype=jnp.uint32), batch["row"])
    return {"logits": tagger.apply(variables, batch, dropout)}, {}


def _train_sums(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    *,
    smoothing: float,
    weights_T: np.ndarray | None,
) -> Sums:
    loss = training_loss(
        outputs["logits"],
        targets=[(batch["labels"], 1.0)],
        mask=batch["mask"],
        smoothing=smoothing,
        weights_C=weights_T,
    )
    return {"loss": loss, "accuracy": _accuracy(outputs, batch)}


def _eval_sums(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
    losses_BL = cross_entropy(outputs["logits"], labels=batch["labels"])
    return {"loss": Mean.of(losses_BL, batch["mask"]), "accuracy": _accuracy(outputs, batch)}


def _accuracy(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Mean:
    return Mean.of(jnp.argmax(outputs["logits"], axis=-1) == batch["labels"], batch["mask"])


def _layer_depths(params: Any, *, num_layers: int) -> Any:
    return {
        "encoder": bert.layer_depths(params["encoder"], num_layers=num_layers),
        "head": jax.tree.map(lambda _: num_layers + 1, params["head"]),
    }
