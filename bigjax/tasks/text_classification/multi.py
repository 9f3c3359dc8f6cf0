"""Owns the scores of texts that are of any number of classes, each by itself: a class is predicted
where its probability reaches the threshold.

The arithmetic belongs to `class_scores.py`, what the report shows of a text to `scoring.py`.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.scores import class_scores
from bigjax.scores.class_scores import sigmoid
from bigjax.scores.intervals import Parts
from bigjax.tasks.classes import (
    MAX_LISTED,
    OVER_CLASSES,
    calibrating_by,
    class_scalars,
    class_table,
)
from bigjax.tasks.task import Calibrating, Score, Scores
from bigjax.tasks.text_classification import scoring
from bigjax.tasks.text_classification.rows import Split, by_text

DECLARED = (
    Score("loss", "Loss", "loss", higher_is_better=False),
    Score("micro_f1", "Micro F1", "micro F1"),
    Score("exact_match", "Exact match"),
    *OVER_CLASSES,
)
HEADLINE = ("micro_f1", "macro_f1", "exact_match")


def score(
    split: Split, outputs: Mapping[str, np.ndarray], *, names: Sequence[str], threshold: float
) -> Scores:
    """Scores of predicted sets of classes; every scalar is nan where a logit is not finite.

    Args:
      outputs: logits float (R, S, C) of all rows of the split in order.
    """
    logits = by_text(split, outputs)
    if not np.isfinite(logits).all():
        return scoring.not_finite(logits, declared=DECLARED)
    probabilities, gold = sigmoid(logits), split.targets
    predicted = probabilities >= threshold
    by_class = class_scores.of_counts(
        (gold & predicted).sum(axis=0), predicted=predicted.sum(axis=0), gold=gold.sum(axis=0)
    )
    ranking = class_scores.each_ranked(probabilities, positive=lambda c: gold[:, c])
    right = (gold == predicted).all(axis=1)
    parts = {
        "micro_f1": Parts.of(2 * (gold & predicted).sum(axis=1), (gold.sum(1) + predicted.sum(1))),
        "exact_match": Parts.of(right, np.ones(len(right))),
    }
    if len(names) <= MAX_LISTED:
        parts["macro_f1"] = _macro_f1_parts(gold, predicted)
    wrong = np.flatnonzero(~right)
    # Of a wrong text: how sure the model is of the class that it is most wrong about.
    confidence = np.where(gold == predicted, 0.0, np.abs(probabilities - ~predicted)).max(axis=1)
    item = functools.partial(
        scoring.shown,
        split,
        gold=lambda i: _named(gold[i], names),
        predicted=lambda i: _named(predicted[i], names),
    )
    pairs = gold.sum() + predicted.sum()
    scalars = {
        "micro_f1": float(2 * (gold & predicted).sum() / pairs) if pairs else np.nan,
        "exact_match": float(right.mean()),
        **class_scalars(by_class, ranking, error=_reliability(probabilities, gold).error),
    }
    sections = [
        class_table(by_class, ranking, names=names),
        *scoring.mistakes(wrong, confidence=confidence, item=item, num=len(right)),
    ]
    listed = lambda: [  # noqa: E731
        item(i, confidence=confidence[i]) | {"example": i} for i in wrong.tolist()
    ]
    return Scores(scalars, sections, parts, listed, scoring.WRONG_KIND)


def calibrating(splits: Mapping[str, Split]) -> Calibrating:
    """A temperature of the logits of whole texts."""

    def loss(split: str, logits: np.ndarray) -> Any:
        signed = np.where(splits[split].targets, -1.0, 1.0) * logits.astype(np.float64)
        return lambda temperature: float(np.logaddexp(0, signed / temperature).sum())

    return calibrating_by(
        lambda split, outputs: by_text(splits[split], outputs),
        loss=loss,
        found=lambda split, logits: _reliability(sigmoid(logits), splits[split].targets),
        things="pairs of a text and a class",
        confidence="the probability that the text is of the class",
    )


def average(several: Sequence[np.ndarray]) -> np.ndarray:
    """Logits whose probabilities are the mean of those of all of `several`."""
    mean = np.mean([sigmoid(logits) for logits in several], axis=0)
    with np.errstate(divide="ignore"):
        return (np.log(mean) - np.log1p(-mean)).astype(np.float32)


def _reliability(probabilities: np.ndarray, gold: np.ndarray) -> class_scores.Calibration:
    return class_scores.reliability(probabilities.reshape(-1), correct=gold.reshape(-1))


def _macro_f1_parts(gold: np.ndarray, predicted: np.ndarray) -> Parts:
    both = np.concatenate([gold, predicted], axis=1)
    kinds, kind = np.unique(both, axis=0, return_inverse=True)
    gold, predicted = np.split(kinds.astype(np.float64), 2, axis=1)
    return Parts(kind.reshape(-1).astype(np.int32), 2 * gold * predicted, gold + predicted)


def _named(which: np.ndarray, names: Sequence[str]) -> str:
    return ", ".join(names[i] for i in np.flatnonzero(which)) or "none"
