"""Owns the settings of image classification: the sections of the config that only this task has."""

import dataclasses
from typing import Annotated

from bigjax.config.choices import Sections
from bigjax.config.fields import Between
from bigjax.data.images.augment import Augmentation
from bigjax.data.images.image_sources import IMAGE_SOURCE
from bigjax.models.cnn import NETWORK
from bigjax.tasks.classes import ClassWeights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """Cross-entropy of each image's class."""

    label_smoothing: Annotated[
        float, Between(0, 0.99), "share of the target that is spread evenly over all classes"
    ] = 0.0
    class_weights: ClassWeights = None


SECTIONS: Sections = {
    "data": [IMAGE_SOURCE],
    "augment": [Augmentation],
    "model": [NETWORK],
    "loss": [Loss],
}
