"""Owns image classification: one class for every image, from a convolutional network.

Reading and augmenting belong to `data/`, the networks to `models/cnn.py`, what a finished pass over
a split comes to (scores, tables, worst errors) to `image_scores.py`.

Suffixes: B batch rows, H height, W width, C channels, K classes.
"""

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config.values import Config
from bigjax.data import pipeline, shuffling
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.images import augment
from bigjax.data.images.decoding import Images
from bigjax.data.images.image_sources import IMAGE_SOURCE
from bigjax.engine import microbatches
from bigjax.errors import UserError
from bigjax.models import cnn
from bigjax.scores.losses import cross_entropy
from bigjax.scores.metrics import Mean
from bigjax.tasks.image_classification import image_scores, settings
from bigjax.tasks.task import Task

SECTIONS = settings.SECTIONS
CHUNK_ROWS = 32  # on a CPU, and each device of it


def make(config: Config) -> Task:
    """The task of a checked config: reads the data.

    Raises:
      UserError: data that cannot be read or do not fit the model.
    """
    splits = config.of(IMAGE_SOURCE)
    train = splits["train"]
    class_names = train.class_names
    model = config.of(cnn.NETWORK)(num_classes=len(class_names))
    smoothing = config["loss"]["label_smoothing"]
    return Task(
        name="image_classification",
        init=functools.partial(_init, model, shape=train.shape),
        pretrained=None,
        loss=functools.partial(
            _loss, model, smoothing=smoothing, weights_K=_class_weights(config, train)
        ),
        predict=functools.partial(_predict, model),
        counts=lambda batch: {"images": batch["mask"].sum()},
        score=lambda split, outputs: image_scores.score(splits[split], outputs),
        train=_train_dataset(config, train),
        evals={
            name: _eval_dataset(images, batch_rows=config["eval"]["batch_rows"])
            for name, images in splits.items()
            if name != "train"
        },
        sharding_rules=cnn.SHARDING_RULES,
        layer_depths=_layer_depths,
        data_report=lambda: image_scores.data_report(splits),
        score_names=("loss", "accuracy", *image_scores.score_names(class_names)),
        headline=image_scores.headline(class_names),
        files={"classes.txt": "\n".join(class_names) + "\n"},
    )


def _train_dataset(config: Config, images: Images) -> Dataset:
    policy = config.of(augment.Augmentation)
    seed, num_images = config[""]["seed"], len(images.labels)
    order = shuffling.shuffled(num_images, seed=seed)
    batch_rows = pipeline.batch_rows(
        examples=config["batch"]["examples"],
        rows=config["batch"]["rows"],
        num_examples=num_images,
        num_rows=num_images,
    )

    def make_rows(numbers: np.ndarray) -> Batch:
        batch = _augmented(images, order(numbers), keys=augment.keys(numbers, seed=seed), by=policy)
        batch["mask"] = np.ones(len(numbers), bool)
        if policy.mixup_alpha or policy.cutmix_alpha:
            mixing = augment.mixing(
                numbers, seed=seed, batch_rows=batch_rows, shape=images.shape, policy=policy
            )
            keys = augment.keys(mixing.partner, seed=seed)
            partners = _augmented(images, order(mixing.partner), keys=keys, by=policy)
            batch |= {f"partner_{name}": value for name, value in partners.items()}
            batch |= {"lam": mixing.lam, "box": mixing.box}
        return batch

    return _dataset(images, rows=make_rows, order=order, batch_rows=batch_rows)


def _augmented(
    images: Images, ids: np.ndarray, *, keys: np.ndarray, by: augment.Augmentation
) -> Batch:
    pixels = augment.augment(images.pixels(ids), keys=keys, policy=by)
    return {"image": pixels, "label": images.labels[ids]}


def _eval_dataset(images: Images, *, batch_rows: int) -> Dataset:
    def make_rows(numbers: np.ndarray) -> Batch:
        exists = numbers < len(images.labels)
        ids = np.where(exists, numbers, 0)
        pixels = images.pixels(ids) * exists[:, None, None, None].astype(np.uint8)
        return {"image": pixels, "label": images.labels[ids] * exists, "mask": exists}

    return _dataset(images, rows=make_rows, order=lambda numbers: numbers, batch_rows=batch_rows)


def _dataset(
    images: Images,
    *,
    rows: Callable[..., Batch],
    order: Callable[..., np.ndarray],
    batch_rows: int,
) -> Dataset:
    num_images = len(images.labels)
    return Dataset(
        rows=rows,
        examples=lambda numbers: order(numbers)[:, None],
        batch_rows=batch_rows,
        num_rows=num_images,
        num_examples=num_images,
        fill=1.0,
        fingerprint=images.fingerprint,
    )


def _class_weights(config: Config, train: Images) -> np.ndarray | None:
    """Weights (K,), or None for none."""
    weights, num_classes = config["loss"]["class_weights"], len(train.class_names)
    if weights is None:
        return None
    if weights == "balanced":
        counts = np.bincount(train.labels, minlength=num_classes)
        weights = len(train.labels) / (num_classes * np.maximum(counts, 1))
    elif len(weights) != num_classes or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise UserError(
            f"loss.class_weights={weights}: expected {num_classes} numbers of 0 or more, one for "
            f"each of {', '.join(train.class_names)}; or 'balanced'"
        )
    return np.array(weights, np.float32)


def _init(model: nn.Module, key: jax.Array, *, shape: tuple[int, ...]) -> Any:
    pixels = jnp.zeros((1, *shape), jnp.float32)
    return model.init(key, pixels, mask_B=jnp.ones(1, bool), train=False)


def _loss(
    model: nn.Module,
    variables: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,  # noqa: ARG001 - the networks draw nothing
    *,
    smoothing: float,
    weights_K: np.ndarray | None,
) -> tuple[dict[str, Mean], Any]:
    def apply(variables: Any, rows: Mapping[str, jax.Array]) -> tuple[dict[str, Mean], Any]:
        logits_BK, state = model.apply(
            variables,
            _mixed(rows),
            mask_B=rows["mask"],
            train=True,
            mutable=["batch_stats"],
        )
        return _sums(logits_BK, rows, smoothing=smoothing, weights_K=weights_K), state

    num_rows = batch["image"].shape[0]
    num_chunks = microbatches.num_chunks(num_rows, rows=CHUNK_ROWS * jax.device_count())
    if jax.default_backend() != "cpu" or "batch_stats" in variables or num_chunks == 1:
        return apply(variables, batch)
    sums = lambda params, rows: apply({"params": params}, rows)[0]  # noqa: E731
    return microbatches.sums_in_chunks(sums, variables["params"], batch, num_chunks=num_chunks), {}


def _sums(
    logits_BK: jax.Array,
    batch: Mapping[str, jax.Array],
    *,
    smoothing: float,
    weights_K: np.ndarray | None,
) -> dict[str, Mean]:
    """The loss is divided by the sum of the weights of the images' classes."""
    lam_B = batch.get("lam", 1.0)
    parts = [(batch["label"], lam_B)]
    if "lam" in batch:
        parts.append((batch["partner_label"], 1.0 - lam_B))
    loss_B = weight_B = 0.0
    for label_B, part_B in parts:
        part_B = part_B if weights_K is None else part_B * jnp.asarray(weights_K)[label_B]
        loss_B += part_B * cross_entropy(logits_BK, labels=label_B, smoothing=smoothing)
        weight_B += part_B
    loss = Mean.of(loss_B, batch["mask"])
    if weights_K is not None:
        loss = loss._replace(count=jnp.sum(weight_B, where=batch["mask"]))
    return {"loss": loss, "accuracy": _accuracy(logits_BK, batch)}


def _predict(
    model: nn.Module, variables: Any, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, Mean], dict[str, jax.Array]]:
    pixels = _scaled(batch["image"])
    logits_BK = model.apply(variables, pixels, mask_B=batch["mask"], train=False)
    losses_B = cross_entropy(logits_BK, labels=batch["label"])
    sums = {"loss": Mean.of(losses_B, batch["mask"]), "accuracy": _accuracy(logits_BK, batch)}
    return sums, {"logits": logits_BK}


def _accuracy(logits_BK: jax.Array, batch: Mapping[str, jax.Array]) -> Mean:
    return Mean.of(jnp.argmax(logits_BK, -1) == batch["label"], batch["mask"])


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
