"""Owns the settings of masked-language modelling: the sections of the config that only it has."""

import dataclasses
from typing import Annotated

from bigjax.config.choices import IfNone, Sections
from bigjax.config.fields import Between
from bigjax.models.bert import Compute
from bigjax.tasks.encoders import Kept, NewEncoder, Rows, Vocabulary
from bigjax.tasks.masked_lm.documents import SOURCE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hiding:
    """Which tokens the model has to guess, in every epoch others; those of dev and test are the
    same for every run."""

    share: Annotated[float, Between(0.01, 0.9), "share of the tokens that are to be guessed"] = 0.15
    mask_share: Annotated[
        float, Between(0, 1), "share of these that the model sees as the mask token"
    ] = 0.8
    random_share: Annotated[
        float, Between(0, 1), "share of these that it sees as a random token; the rest it sees"
    ] = 0.1
    whole_words: Annotated[
        bool, "hides all sub-words of a word (of a long one 8 in a row), or none of them"
    ] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicting:
    """What is told of a mask token in a text."""

    num_best: Annotated[int, Between(1, 1000), "how many of the likeliest tokens"] = 5


SECTIONS: Sections = {
    "init": [Kept],
    "data": [SOURCE],
    "text": [Rows, IfNone("init.checkpoint", Vocabulary)],
    "model": [Compute, IfNone("init.checkpoint", NewEncoder)],
    "hide": [Hiding],
    "predict": [Predicting],
}
