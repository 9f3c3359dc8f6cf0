"""Owns a classifier of images as it leaves the program: pixels to logits, and the folder that
transformers loads as a model for image classification."""

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from bigjax.data.images.decoding import Images
from bigjax.models import huggingface_resnet
from bigjax.tasks.image_classification.model import forward
from bigjax.tasks.portable import Folder, Input, Portable, Samples

BATCH_ROWS = 32
BUCKETS = (1, 8, 32)
_BICUBIC = 3  # Pillow's number


def portable(
    network: nn.Module,
    *,
    class_names: Sequence[str],
    shape: tuple[int, ...],
    image_size: int | None,
    splits: Mapping[str, Images],
) -> Portable:
    """shape: (H, W, C) of an image. image_size: to which pictures are resized, or None."""
    # No choice of the run's changes the function: the type it computes in, rematerialization.
    choices = {"dtype": "float32", "remat": "none"}
    network = network.clone(**{k: v for k, v in choices.items() if hasattr(network, k)})
    facts = {"labels": list(class_names), "shape": list(shape), "resize": image_size is not None}
    return Portable(
        inputs={"image": Input(("batch", *shape), "uint8")},
        outputs=("batch", len(class_names)),
        limits={},
        buckets=[{"batch": n} for n in BUCKETS],
        params=lambda variables: jax.tree.map(lambda x: np.asarray(x, np.float32), dict(variables)),
        apply=lambda params, inputs: forward(network, params, inputs["image"]),
        samples=functools.partial(_samples, splits, class_names=class_names),
        files=lambda _: {"labels.json": json.dumps(facts, indent=1) + "\n"},
        imports="from PIL import Image, ImageOps\n",
        example=_text("example.py.txt"),
        huggingface=functools.partial(
            _folder, network=network, class_names=class_names, shape=shape, image_size=image_size
        ),
        things="images",
    )


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _samples(
    splits: Mapping[str, Images],
    params: Any,  # noqa: ARG001
    name: str,
    most: int | None,
    *,
    class_names: Sequence[str],
) -> Samples:
    images = splits[name]
    num = len(images.labels)
    ids = np.linspace(0, num - 1, min(num, most or num)).astype(np.int64)  # from all over the split

    def answers(logits: Sequence[np.ndarray]) -> list[str]:
        return [class_names[i] for i in np.concatenate(logits).argmax(1)]

    return Samples(
        batches=[
            {"image": images.pixels(ids[begin : begin + BATCH_ROWS])}
            for begin in range(0, len(ids), BATCH_ROWS)
        ],
        compared=np.concatenate,
        answers=answers,
        given=[None] * len(ids),  # `answer` takes a picture, and here are pixels
        score=lambda logits: float((np.concatenate(logits).argmax(1) == images.labels[ids]).mean()),
    )


def _folder(
    params: Any,
    *,
    network: nn.Module,
    class_names: Sequence[str],
    shape: tuple[int, ...],
    image_size: int | None,
) -> Folder:
    height, width, channels = shape
    config = {
        **huggingface_resnet.config_of(network, channels=channels),
        "id2label": {str(i): name for i, name in enumerate(class_names)},
        "label2id": {name: i for i, name in enumerate(class_names)},
        "problem_type": "single_label_classification",
        "dtype": "float32",
    }
    resized = image_size is not None
    processor = {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": channels == 3,
        "do_resize": resized,
        "size": {"shortest_edge": min(height, width)},
        "resample": _BICUBIC,
        "do_center_crop": resized,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5] * channels,
        "image_std": [0.5] * channels,
    }
    return Folder(
        arrays=huggingface_resnet.arrays_of(params),
        config=config,
        files={"preprocessor_config.json": json.dumps(processor, indent=1) + "\n"},
        example=_text("example_transformers.py.txt"),
        pipeline="image-classification",
        usage=_text("usage.py.txt"),
        note="Verified from pixels on: a picture of another size is resized by transformers, whose "
        "pixels may differ from those of training in their last bits.",
    )
