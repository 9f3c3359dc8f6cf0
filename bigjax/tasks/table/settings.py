"""Owns the settings of tables: the sections of the config that only this task has."""

import dataclasses
from typing import Annotated, Literal

from bigjax.config.choices import Sections
from bigjax.config.fields import AtLeast, Between
from bigjax.data.tables.table_sources import TABLE_SOURCE, Columns
from bigjax.models.mlp import TABLE_NETWORK
from bigjax.tasks.classes import ClassWeights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """Cross-entropy of classes (of two classes of one logit, as logistic regression has it), or an
    error of the scaled target; and what large weights add to the mean of it over the rows."""

    error: Annotated[
        Literal["squared", "absolute", "huber"],
        "of a regression: the square of the difference, its size, or the square below 1 and linear "
        "beyond (Huber 1964)",
    ] = "squared"
    label_smoothing: Annotated[
        float, Between(0, 0.99), "share of the target that is spread evenly over all classes"
    ] = 0.0
    class_weights: ClassWeights = None
    l1: Annotated[
        float, AtLeast(0), "times the sum of the sizes of all weights, biases and scales not"
    ] = 0.0
    l2: Annotated[
        float,
        AtLeast(0),
        "times the sum of their squares: of N training rows, scikit-learn's LogisticRegression(C) "
        "is 1 / (2 C N), its Ridge(alpha) is alpha / N",
    ] = 0.0


SECTIONS: Sections = {
    "data": [TABLE_SOURCE, Columns],
    "model": [TABLE_NETWORK],
    "loss": [Loss],
}
