"""Owns the function that is trained on images: pixels to logits, and what a batch's logits come to.

The networks are `models/cnn.py`'s.

Suffixes: B batch rows, H height, W width, C channels, K classes.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.scores.losses import cross_entropy
from bigjax.scores.metrics import Mean
from bigjax.tasks.classes import training_loss
from bigjax.tasks.task import Model, Outputs, Sums

CHUNK_ROWS = 32  # that a CPU computes at once, and each device of it


def make_model(
    network: nn.Module,
    *,
    shape: tuple[int, ...],
    smoothing: float,
    weights_K: np.ndarray | None,
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]],
) -> Model:
    """shape: (H, W, C) of an image. smoothing, weights_K: of the training loss. adopt: as `Model`
    has it."""
    return Model(
        init=functools.partial(_init, network, shape=shape),
        apply=functools.partial(_apply, network),
        train_sums=functools.partial(_train_sums, smoothing=smoothing, weights_K=weights_K),
        eval_sums=_eval_sums,
        layer_depths=_layer_depths,
        adopt=adopt,
        chunk_rows=CHUNK_ROWS,
    )


def _init(network: nn.Module, key: jax.Array, *, shape: tuple[int, ...]) -> Any:
    pixels = jnp.zeros((1, *shape), jnp.float32)
    return network.init(key, pixels, mask_B=jnp.ones(1, bool), train=False)


def _apply(
    network: nn.Module, variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> tuple[Outputs, Any]:
    """logits float32 (B, K). The networks draw nothing: a key only says that this is training."""
    if key is None:
        return {"logits": forward(network, variables, batch["image"])}, {}
    logits_BK, state = network.apply(
        variables, _mixed(batch), mask_B=batch["mask"], train=True, mutable=["batch_stats"]
    )
    return {"logits": logits_BK}, state


def forward(network: nn.Module, variables: Any, image_BHWC: jax.Array) -> jax.Array:
    """Logits float32 (B, K) of pixels uint8, as evaluation and prediction compute them."""
    every_B = jnp.ones(image_BHWC.shape[0], bool)  # only batch statistics ask which rows exist
    return network.apply(variables, _scaled(image_BHWC), mask_B=every_B, train=False)


def _train_sums(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    *,
    smoothing: float,
    weights_K: np.ndarray | None,
) -> Sums:
    lam_B = batch.get("lam", 1.0)
    targets = [(batch["label"], lam_B)]
    if "lam" in batch:
        targets.append((batch["partner_label"], 1.0 - lam_B))
    loss = training_loss(
        outputs["logits"],
        targets=targets,
        mask=batch["mask"],
        smoothing=smoothing,
        weights_C=weights_K,
    )
    return {"loss": loss, "accuracy": _accuracy(outputs, batch)}


def _eval_sums(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
    losses_B = cross_entropy(outputs["logits"], labels=batch["label"])
    return {"loss": Mean.of(losses_B, batch["mask"]), "accuracy": _accuracy(outputs, batch)}


def _accuracy(outputs: Outputs, batch: Mapping[str, jax.Array]) -> Mean:
    return Mean.of(jnp.argmax(outputs["logits"], -1) == batch["label"], batch["mask"])


def _mixed(batch: Mapping[str, jax.Array]) -> jax.Array:
    """The scaled images, mixed with their partners where the batch has any: mixup (Zhang et al.
    2018) over the whole image where the box is empty, CutMix (Yun et al. 2019) inside the box."""
    pixels_BHWC = _scaled(batch["image"])
    if "box" not in batch:
        return pixels_BHWC
    top_B, bottom_B, left_B, right_B = batch["box"].T[:, :, None]
    height, width = pixels_BHWC.shape[1:3]
    y_H, x_W = jnp.arange(height)[None], jnp.arange(width)[None]
    inside_BH = (y_H >= top_B) & (y_H < bottom_B)
    inside_BW = (x_W >= left_B) & (x_W < right_B)
    inside_BHW = inside_BH[:, :, None] & inside_BW[:, None, :]
    lam_B = jnp.where((bottom_B > top_B)[:, 0], 1.0, batch["lam"])
    own_BHW = jnp.where(inside_BHW, 0.0, lam_B[:, None, None])
    partners_BHWC = _scaled(batch["partner_image"])
    return partners_BHWC + own_BHW[..., None] * (pixels_BHWC - partners_BHWC)


def _scaled(image_BHWC: jax.Array) -> jax.Array:
    return image_BHWC.astype(jnp.float32) / 127.5 - 1.0


def _layer_depths(params: Any) -> Any:
    """For each leaf its depth, from the input: by kind of layer, then by the layer's numbers."""

    def place(name: str) -> tuple[int, ...]:
        kinds = {"stem": 0, "patches": 0, "dense": 2, "head": 3}
        return (kinds.get(name.split("_")[0], 1), *map(int, re.findall(r"\d+", name)))

    depths = {found: i for i, found in enumerate(sorted({place(name) for name in params}))}

    def of_layer(name: str, tree: Any) -> Any:
        depth = depths[place(name)]
        return jax.tree.map(lambda _: depth, tree)

    return {name: of_layer(name, tree) for name, tree in params.items()}
