"""Owns the settings of token tagging: the sections of the config that only this task has."""

import dataclasses
from typing import Annotated, Literal

from bigjax.config.choices import IfNone, Sections
from bigjax.config.fields import Between
from bigjax.data.text.text_sources import SOURCE
from bigjax.models.bert import Compute
from bigjax.tasks.classes import ClassWeights
from bigjax.tasks.encoders import Kept, NewEncoder, Rows, Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """What makes tags of the encoder's last hidden states."""

    head: Annotated[
        Literal["linear", "crf"],
        "'linear': the tag of each word by itself; 'crf': the tags of a whole sentence, with "
        "learned scores of which tag follows which",
    ] = "linear"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """How predictions are made of the scores of tags; training does not look at it."""

    kind: Annotated[
        Literal["viterbi", "argmax"],
        "'viterbi': the most probable of the legal sequences of a sentence; 'argmax': the most "
        "probable tag of each word, whatever its neighbours get",
    ] = "viterbi"
    score: Annotated[
        Literal["product", "minimum"],
        "the score of an entity: the product of the probabilities of its words' tags, or the least "
        "of them; a CRF gives the probability of the entity itself",
    ] = "product"
    min_score: Annotated[
        float, Between(0, 1), "entities that are less sure are left out of predictions"
    ] = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """Cross-entropy of each word's tag, or with model.head='crf' of each sentence's tags."""

    label_smoothing: Annotated[
        float, Between(0, 0.99), "share of the target that is spread evenly over all tags"
    ] = 0.0
    class_weights: ClassWeights = None


SECTIONS: Sections = {
    "init": [Kept],
    "data": [SOURCE],
    "text": [Rows, IfNone("init.checkpoint", Vocabulary)],
    "model": [Compute, Head, IfNone("init.checkpoint", NewEncoder)],
    "loss": [Loss],
    "decode": [Decoding],
}
