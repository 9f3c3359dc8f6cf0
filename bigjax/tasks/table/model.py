"""Owns the function that is trained on tables: columns to logits or a value, and what a batch's
come to. The networks are `models/mlp.py`'s.

A batch has numbers float32 (B, N), categories int32 (B, M) and, where it is scored, target (B,).

Suffixes: B batch rows, N numbers, M columns of categories, K classes.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.data.tables.plan import Plan
from bigjax.models import ops
from bigjax.scores.losses import cross_entropy
from bigjax.scores.metrics import Mean
from bigjax.tasks.classes import training_loss
from bigjax.tasks.table.settings import Loss
from bigjax.tasks.task import Model, Outputs, Sums
from bigjax.trees import leaf_names

PENALISED = ("kernel", "embedding")  # the last names of what loss.l1 and loss.l2 are of


def make_model(
    network: Callable[..., nn.Module],
    *,
    plan: Plan,
    loss: Loss,
    weights_K: np.ndarray | None,
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]],
) -> Model:
    """weights_K: of the classes in the training loss. adopt: as `Model` has it."""
    num_classes = len(plan.target.classes)
    outputs = num_classes if num_classes > 2 else 1
    made = network(outputs=outputs, num_codes=plan.num_codes)
    sums = (
        functools.partial(_class_sums, loss=loss, weights_K=weights_K)
        if num_classes
        else functools.partial(_value_sums, loss=loss)
    )
    return Model(
        init=functools.partial(
            _init, made, num_numbers=len(plan.features), num_columns=len(plan.num_codes)
        ),
        apply=functools.partial(_apply, made, num_classes=num_classes, loss=loss),
        train_sums=sums,
        eval_sums=_eval_class_sums if num_classes else sums,
        layer_depths=_layer_depths,
        adopt=adopt,
    )


def _init(network: nn.Module, key: jax.Array, *, num_numbers: int, num_columns: int) -> Any:
    return network.init(
        key,
        jnp.zeros((1, num_numbers)),
        jnp.zeros((1, num_columns), jnp.int32),
        mask_B=jnp.ones(1, bool),
        dropout=ops.NO_DROPOUT,
    )


def _apply(
    network: nn.Module,
    variables: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array | None,
    *,
    num_classes: int,
    loss: Loss,
) -> tuple[Outputs, Any]:
    """logits float32 (B, K), or value float32 (B,), scaled as the target is; in training `penalty`
    too, a scalar that no decoding sees."""
    numbers_BN, codes_BM = batch["numbers"], batch["categories"]
    if key is None:
        mask_B = jnp.ones(numbers_BN.shape[:1], bool)
        y_BK = network.apply(variables, numbers_BN, codes_BM, mask_B=mask_B, dropout=ops.NO_DROPOUT)
        return _outputs(y_BK, num_classes=num_classes), {}
    y_BK, state = network.apply(
        variables,
        numbers_BN,
        codes_BM,
        mask_B=batch["mask"],
        dropout=ops.dropout_of(batch, key),
        mutable=["batch_stats"],
    )
    penalty = _penalty(variables["params"], loss=loss)
    return _outputs(y_BK, num_classes=num_classes) | {"penalty": penalty}, state


def _outputs(y_BK: jax.Array, *, num_classes: int) -> Outputs:
    if not num_classes:
        return {"value": y_BK[:, 0]}
    if num_classes == 2:  # the logit of the second, as against 0 for the first
        y_BK = jnp.concatenate([jnp.zeros_like(y_BK), y_BK], -1)
    return {"logits": y_BK}


def _penalty(params: Any, *, loss: Loss) -> jax.Array:
    total = jnp.zeros(())
    for name, leaf in zip(leaf_names(params), jax.tree.leaves(params)):
        if name.rpartition("/")[2] in PENALISED:
            if loss.l1:
                total += loss.l1 * jnp.abs(leaf).sum()
            if loss.l2:
                total += loss.l2 * jnp.square(leaf).sum()
    return total


def _penalised(mean: Mean, outputs: Outputs) -> Mean:
    """With the penalty added to the mean."""
    if "penalty" not in outputs:
        return mean
    return mean._replace(total=mean.total + outputs["penalty"] * mean.count)


def _class_sums(
    outputs: Outputs, batch: Mapping[str, jax.Array], *, loss: Loss, weights_K: np.ndarray | None
) -> Sums:
    mean = training_loss(
        outputs["logits"],
        targets=[(batch["target"], 1.0)],
        mask=batch["mask"],
        smoothing=loss.label_smoothing,
        weights_C=weights_K,
    )
    return {"loss": _penalised(mean, outputs), "accuracy": _accuracy(outputs, batch)}


def _eval_class_sums(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
    losses_B = cross_entropy(outputs["logits"], labels=batch["target"])
    return {"loss": Mean.of(losses_B, batch["mask"]), "accuracy": _accuracy(outputs, batch)}


def _accuracy(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Mean:
    return Mean.of(jnp.argmax(outputs["logits"], -1) == batch["target"], batch["mask"])


def _value_sums(outputs: Outputs, batch: Mapping[str, jax.Array], *, loss: Loss) -> Sums:
    difference_B = outputs["value"] - batch["target"]
    size_B = jnp.abs(difference_B)
    losses_B = {
        "squared": jnp.square(difference_B),
        "absolute": size_B,
        "huber": jnp.where(size_B < 1, jnp.square(difference_B), 2 * size_B - 1),
    }[loss.error]
    return {"loss": _penalised(Mean.of(losses_B, batch["mask"]), outputs)}


def _layer_depths(params: Any) -> Any:
    """From the inputs to the head."""

    def place(name: str) -> tuple[int, ...]:
        kinds = {"inputs": 0, "stem": 1, "head": 3}
        numbers = tuple(map(int, re.findall(r"\d+", name)))
        if name == "norm_head":
            return (3,)
        return (kinds.get(name, 2), *numbers)

    depths = {found: i for i, found in enumerate(sorted({place(name) for name in params}))}

    def of_layer(name: str, tree: Any) -> Any:
        depth = depths[place(name)]
        return jax.tree.map(lambda _: depth, tree)

    return {name: of_layer(name, tree) for name, tree in params.items()}
