"""Owns the function that is trained on tagged text: packed rows to a logit for each tag of each
token, and what a batch's logits come to.

The encoder is `models/bert.py`'s, the CRF `models/crf.py`'s. Suffixes: B batch rows, L row length,
D model, T tags, S as in `models/crf.py`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.models import bert, crf, ops
from bigjax.scores.losses import cross_entropy
from bigjax.scores.metrics import Mean
from bigjax.tasks.classes import training_loss
from bigjax.tasks.task import Model, Outputs, Pretrained, Sums


class Tagger(nn.Module):
    """An encoder and a head over its last hidden states: `ops.Dense` for float32 logits (B, L, T),
    or `crf.Head` for these and its scores."""

    sizes: bert.Sizes
    compute: bert.Compute
    num_tags: int
    head: Callable[..., nn.Module] = ops.Dense

    @nn.compact
    def __call__(self, batch: Mapping[str, jax.Array], dropout: ops.Dropout) -> Any:
        encoder = bert.Encoder(self.sizes, self.compute, name="encoder")
        x_BLD = bert.encode(encoder, batch, dropout, read_BL=batch.get("mask"))
        x_BLD = dropout.at(0).site(3)(x_BLD, rate=self.compute.dropout)
        return self.head(self.num_tags, name="head")(x_BLD.astype(jnp.float32))


def make_model(
    tagger: Tagger,
    *,
    smoothing: float,
    weights_T: np.ndarray | None,
    pretrained: Callable[[], Pretrained] | None,
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]] | None = None,
) -> Model:
    """Each word's tag by itself; its accuracy in training is of the tag with the largest logit.

    smoothing, weights_T: of the training loss. pretrained, adopt: as `Model` has them."""
    return Model(
        init=functools.partial(_init, tagger),
        apply=functools.partial(_apply, tagger),
        train_sums=functools.partial(_train_sums, smoothing=smoothing, weights_T=weights_T),
        eval_sums=_eval_sums,
        layer_depths=functools.partial(bert.model_layer_depths, num_layers=tagger.sizes.num_layers),
        pretrained=pretrained,
        adopt=adopt,
        embedding_size=tagger.sizes.embedding_size or tagger.sizes.hidden_size,
    )


def make_crf_model(
    tagger: Tagger,
    *,
    allowed_ST: np.ndarray,
    pretrained: Callable[[], Pretrained] | None,
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]] | None = None,
) -> Model:
    """The tags of whole sentences; `tagger` has a `crf.Head`, and batches hold `before` and `after`
    as `rows.tags_in_context` gives them. Its loss is a mean over words too.

    allowed_ST: which tag may follow which.
    """
    sums = functools.partial(_crf_sums, allowed_ST=allowed_ST)
    return Model(
        init=functools.partial(_init, tagger),
        apply=functools.partial(_apply_crf, tagger),
        train_sums=sums,
        eval_sums=sums,
        layer_depths=functools.partial(bert.model_layer_depths, num_layers=tagger.sizes.num_layers),
        pretrained=pretrained,
        adopt=adopt,
        embedding_size=tagger.sizes.embedding_size or tagger.sizes.hidden_size,
    )


def _init(tagger: Tagger, key: jax.Array) -> Any:
    zeros = jnp.zeros((1, 8), jnp.int32)
    batch = {"tokens": zeros, "segments": zeros, "positions": zeros}
    return tagger.init(key, batch, ops.NO_DROPOUT)


def _apply(
    tagger: Tagger, variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> tuple[Outputs, Any]:
    """logits float32 (B, L, T)."""
    return {"logits": tagger.apply(variables, batch, ops.dropout_of(batch, key))}, {}


def _apply_crf(
    tagger: Tagger, variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> tuple[Outputs, Any]:
    """logits float32 (B, L, T), and transitions float32 (B, S, T), the same for each row."""
    logits_BLT, scores_ST = tagger.apply(variables, batch, ops.dropout_of(batch, key))
    scores_BST = jnp.broadcast_to(scores_ST[None], (len(logits_BLT), *scores_ST.shape))
    return {"logits": logits_BLT, "transitions": scores_BST}, {}


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
    right_BL = jnp.argmax(outputs["logits"], axis=-1) == batch["labels"]
    return {"loss": loss, "accuracy": Mean.of(right_BL, batch["mask"])}


def _eval_sums(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
    losses_BL = cross_entropy(outputs["logits"], labels=batch["labels"])
    return {"loss": Mean.of(losses_BL, batch["mask"])}


def _crf_sums(outputs: Outputs, batch: Mapping[str, jax.Array], *, allowed_ST: np.ndarray) -> Sums:
    losses_BL = crf.negative_log_likelihood(
        outputs["logits"],
        scores_BST=outputs["transitions"],
        allowed_ST=allowed_ST,
        labels_BL=batch["labels"],
        mask_BL=batch["mask"],
        segments_BL=batch["segments"],
        before_BL=batch["before"],
        after_BL=batch["after"],
    )
    return {"loss": Mean.of(losses_BL, batch["mask"])}
