"""Owns the settings of text classification: the sections of the config that only this task has."""

import dataclasses
from typing import Annotated, Literal

from bigjax.config.choices import IfNone, Sections
from bigjax.config.fields import Between
from bigjax.data.text.class_sources import CLASS_SOURCE
from bigjax.data.text.word_noise import WordNoise
from bigjax.models.bert import Compute
from bigjax.tasks.classes import ClassWeights
from bigjax.tasks.encoders import Kept, NewEncoder, Rows, Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooling:
    """What makes one vector of a text's last hidden states."""

    pooling: Annotated[
        Literal["cls", "mean"],
        "'cls': that of the first token, through one more layer, as transformers has it; 'mean': "
        "the mean of them all",
    ] = "cls"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """Cross-entropy of each text's class, or of whether it is of each class."""

    kind: Annotated[
        Literal["single", "multi"],
        "'single': each text is of one class; 'multi': of any number of them, each by itself",
    ] = "single"
    label_smoothing: Annotated[
        float, Between(0, 0.99), "share of the target that is spread evenly over all classes"
    ] = 0.0
    class_weights: ClassWeights = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """How predictions are made of probabilities; training does not look at it."""

    threshold: Annotated[
        float,
        Between(0, 1),
        "with loss.kind='multi': classes of at least this probability are predicted",
    ] = 0.5


SECTIONS: Sections = {
    "init": [Kept],
    "data": [CLASS_SOURCE],
    "text": [Rows, IfNone("init.checkpoint", Vocabulary)],
    "augment": [WordNoise],
    "model": [Compute, Pooling, IfNone("init.checkpoint", NewEncoder)],
    "loss": [Loss],
    "decode": [Decoding],
}
