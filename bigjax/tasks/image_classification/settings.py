"""Owns the settings of image classification: the sections of the config that only this task has."""

import dataclasses
from typing import Annotated, Literal

from bigjax.config.choices import Sections
from bigjax.config.fields import AtLeast, Between
from bigjax.data.images.augment import Augmentation
from bigjax.data.images.image_sources import IMAGE_SOURCE
from bigjax.models.cnn import NETWORK


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """Cross-entropy of each image's class."""

    label_smoothing: Annotated[
        float, Between(0, 0.99), "share of the target that is spread evenly over all classes"
    ] = 0.0
    class_weights: Annotated[
        tuple[float, ...] | Literal["balanced"] | None,
        AtLeast(0),
        "how much an image of each class counts: a number for each class, or 'balanced': inversely "
        "to how frequent classes are in training; None: all alike",
    ] = None


SECTIONS: Sections = {
    "data": [IMAGE_SOURCE],
    "augment": [Augmentation],
    "model": [NETWORK],
    "loss": [Loss],
}
