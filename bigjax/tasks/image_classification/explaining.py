"""Owns why a trained image classifier said what it said of an image: the question, and what every
number of every pixel did as a picture.

The answer of a question is the log-probability of the class that was said, compared with that of an
even grey. Integrating belongs to `inference/attribution.py`.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.tasks.image_classification.use import Prepared
from bigjax.tasks.task import Question

GREY = 127.5  # what the network sees as 0
SIDE = 160  # to which pictures are enlarged, in pixels of the page
_FOR, _AGAINST = np.array([29, 95, 174]), np.array([210, 86, 11])  # colours, as the report's


def questions(
    one: Prepared,
    answer: Mapping[str, Any],
    variables: Mapping[str, Any],  # noqa: ARG001 - of all tasks alike
    *,
    class_names: Sequence[str],
) -> Iterator[Question]:
    """One, of the most probable class."""
    number = list(class_names).index(answer["class"])
    value = one.pixels[None].astype(np.float32)
    batch = {
        "image": one.pixels[None],
        "label": np.array([number], np.int32),
        "mask": np.ones(1, bool),
    }

    def show(parts: np.ndarray) -> dict[str, Any]:
        of_pixel = parts[0].sum(axis=-1)
        height, width = (side * max(1, SIDE // max(of_pixel.shape)) for side in of_pixel.shape)
        return {
            "map": of_pixel,
            "width": width,
            "height": height,
            "png": _png(one.pixels),
            "map_png": _png(_coloured(one.pixels, of_pixel)),
        }

    baseline = np.full_like(value, GREY)
    yield Question(
        f"{answer['class']} {answer['score']:.2f}", batch, "image", value, baseline, show
    )


def _coloured(pixels: np.ndarray, of_pixel: np.ndarray) -> np.ndarray:
    """The image in pale grey under its map, blue where it spoke for the class and orange where
    against; the strongest hundredth of the pixels is as strong as it gets."""
    pale = 215 + 40 * pixels.mean(axis=-1, keepdims=True) / 255
    most = max(float(np.quantile(np.abs(of_pixel), 0.99)), 1e-12)
    strength = np.minimum(np.abs(of_pixel) / most, 1.0)[..., None]
    colour = np.where(of_pixel[..., None] > 0, _FOR, _AGAINST)
    return np.rint(pale + strength * (colour - pale)).astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
