"""Owns the record of pure functions that makes a task, and what a batch and a data set are. The
loop knows a task by these alone.

A new task is a module in `bigjax/tasks/` that fills in this record; see docs/design.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.data.dataset import Dataset
from bigjax.scores.metrics import Mean

Variables = Mapping[str, Any]  # {"params": ..., and the model's other collections}


class Scores(NamedTuple):
    """What a finished pass over a split came to.

    scalars: metric name ("entity_f1") to value.
    sections: parts of the report, in its order (the kinds are in sections.py).
    """

    scalars: dict[str, float]
    sections: list[dict[str, Any]]


class Pretrained(NamedTuple):
    """params: numpy; what is absent from them keeps its random start. source: where they come from.
    note: what else is to be said of them, "" for nothing."""

    params: Mapping[str, Any]
    source: str
    note: str = ""


class Task(NamedTuple):
    """What one task is to the loop. Every function is pure; a batch is a dict of arrays (B, ...)
    in which a row of zeros counts nowhere.

    init: key -> variables, traceable.
    pretrained: where parameters come from, or None to start at random.
    loss: (variables, batch, key) -> (sums, model_state): the training objective `sums["loss"]` and
      any other means, and the new values of the collections other than params.
    predict: (variables, batch) -> (sums, outputs): outputs are arrays (B, ...) for `score`.
    counts: batch -> named sums over the batch, for throughput ("sentences", "tokens").
    score: (split, outputs) -> Scores; outputs are numpy, all rows of the split in order.
    train, evals: the data.
    sharding_rules: ordered (regex, mesh axes of each dimension) over the names of params.
    layer_depths: params -> tree of depths (int or array), for layer-wise learning rates.
    data_report: () -> rows (name, value), for `--mode=check` and the report's data card.
    score_names: every score of a split, as `predict`'s sums and `score` name them.
    headline: those to show first; the first one is what "best" means unless the config says.
    files: name -> content of what the run folder keeps besides (tokenizer, names of tags).
    """

    name: str
    init: Callable[[jax.Array], Variables]
    pretrained: Callable[[], Pretrained] | None
    loss: Callable[..., tuple[dict[str, Mean], Mapping[str, Any]]]
    predict: Callable[..., tuple[dict[str, Mean], dict[str, jax.Array]]]
    counts: Callable[..., dict[str, jax.Array]]
    score: Callable[[str, dict[str, np.ndarray]], Scores]
    train: Dataset
    evals: Mapping[str, Dataset]
    sharding_rules: tuple[tuple[str, tuple[Any, ...]], ...]
    layer_depths: Callable[[Any], Any]
    data_report: Callable[[], list[tuple[str, str]]]
    score_names: tuple[str, ...]
    headline: tuple[str, ...]
    files: Mapping[str, str]
