"""Owns the function that is trained on texts with classes: packed rows to the logits of each window
in a row, and what a batch's logits come to.

The encoder is `models/bert.py`'s. Suffixes: B batch rows, L row length, S windows in a row, D
model, C classes.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.models import bert, ops
from bigjax.scores.metrics import Mean
from bigjax.tasks.classes import training_loss
from bigjax.tasks.task import Model, Outputs, Pretrained, Sums

Sum = Callable[[Outputs, Mapping[str, jax.Array]], Sums]


class Classifier(nn.Module):
    """An encoder, the pooling of each segment of a row, and a linear head: float32 logits
    (B, S, C), of the windows in the order of their segments.

    activation: after the layer over the first token's hidden state; None: the mean of all hidden
      states of a segment, special tokens too, without a layer.
    """

    sizes: bert.Sizes
    compute: bert.Compute
    num_classes: int
    activation: Callable[[jax.Array], jax.Array] | None

    @nn.compact
    def __call__(self, batch: Mapping[str, jax.Array], dropout: ops.Dropout) -> jax.Array:
        segments_BL = batch["segments"]
        encoder = bert.Encoder(self.sizes, self.compute, name="encoder")
        x_BLD = bert.encode(encoder, batch, dropout)
        number_S = 1 + jnp.arange(batch["mask"].shape[1])
        inside_BSL = segments_BL[:, None, :] == number_S[None, :, None]
        if self.activation is not None:
            inside_BSL &= (batch["positions"] == 0)[:, None, :]
        size_BS1 = jnp.maximum(inside_BSL.sum(-1, keepdims=True), 1)
        pool_BSL = inside_BSL.astype(jnp.float32) / size_BS1
        x_BSD = jnp.einsum("bsl,bld->bsd", pool_BSL, x_BLD.astype(jnp.float32))
        if self.activation is not None:
            x_BSD = self.activation(ops.Dense(x_BSD.shape[-1], name="pooler")(x_BSD))
        x_BSD = dropout.at(0).site(3)(x_BSD, rate=self.compute.dropout)
        return ops.Dense(self.num_classes, name="head")(x_BSD)


def make_model(
    classifier: Classifier,
    *,
    train_sums: Sum,
    eval_sums: Sum,
    pretrained: Callable[[], Pretrained] | None,
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]] | None,
) -> Model:
    """train_sums, eval_sums: of one class a text or of several, below. pretrained, adopt: as
    `Model` has them."""
    return Model(
        init=functools.partial(_init, classifier),
        apply=functools.partial(_apply, classifier),
        train_sums=train_sums,
        eval_sums=eval_sums,
        layer_depths=functools.partial(
            bert.model_layer_depths, num_layers=classifier.sizes.num_layers
        ),
        pretrained=pretrained,
        adopt=adopt,
        embedding_size=classifier.sizes.embedding_size or classifier.sizes.hidden_size,
    )


def single_sums(*, smoothing: float = 0.0, weights_C: np.ndarray | None = None) -> Sum:
    """Of texts of one class each: the cross-entropy of windows, each of which counts as its share
    of its text."""

    def sums(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
        loss = training_loss(
            outputs["logits"],
            targets=[(batch["label"], 1.0)],
            mask=batch["mask"],
            smoothing=smoothing,
            weights_C=weights_C,
            weight=batch["weight"],
        )
        return {"loss": loss}

    return sums


def with_accuracy(sums: Sum) -> Sum:
    """`sums` and the accuracy of windows, for the lines of training."""

    def both(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
        right_BS = jnp.argmax(outputs["logits"], axis=-1) == batch["label"]
        return sums(outputs, batch) | {"accuracy": _weighed(right_BS, batch)}

    return both


def multi_sums(*, smoothing: float = 0.0, weights_C: np.ndarray | None = None) -> Sum:
    """Of texts of any number of classes: the cross-entropy of whether a window's text is of each
    class, a mean over classes too. smoothing: the share of each target that becomes a half."""

    def sums(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
        target_BSC = batch["label"].astype(jnp.float32) * (1 - smoothing) + smoothing / 2
        logits_BSC = outputs["logits"]
        losses_BSC = jax.nn.softplus(logits_BSC) - logits_BSC * target_BSC
        return {"loss": _weighed(losses_BSC, batch, weights_C=weights_C)}

    return sums


def _weighed(
    values: jax.Array, batch: Mapping[str, jax.Array], *, weights_C: np.ndarray | None = None
) -> Mean:
    """Of values (B, S) or (B, S, C), where padding may hold anything."""
    weight, mask = batch["weight"], batch["mask"]
    if values.ndim == 3:
        weight = jnp.broadcast_to(weight[..., None], values.shape)
        if weights_C is not None:
            weight *= jnp.asarray(weights_C)[None, None]
        mask = jnp.broadcast_to(mask[..., None], values.shape)
    return Mean.of(values * weight, mask)._replace(count=jnp.sum(weight, where=mask))


def _init(classifier: Classifier, key: jax.Array) -> Any:
    zeros = jnp.zeros((1, 8), jnp.int32)
    batch = {"tokens": zeros, "segments": zeros, "positions": zeros}
    return classifier.init(key, batch | {"mask": jnp.ones((1, 1), bool)}, ops.NO_DROPOUT)


def _apply(
    classifier: Classifier, variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> tuple[Outputs, Any]:
    """logits float32 (B, S, C)."""
    return {"logits": classifier.apply(variables, batch, ops.dropout_of(batch, key))}, {}
