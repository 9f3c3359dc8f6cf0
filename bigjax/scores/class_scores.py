"""Owns the scores of class probabilities: exact, on the host in float64, from all examples at once.

What can be summed batch by batch belongs to `metrics.py`, which of these scores a task reports to
the task. Throughout, probabilities are float64 (N, C), finite, and labels are class ids (N,).
Each class against the rest is a question of its own, so a class that nothing can be said of (it has
no example, or every example is of it) is nan, and `macro` leaves it out.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bigjax.scores.metrics import Confusion

NUM_BINS = 15


class PerClass(NamedTuple):
    """Of each class: precision, recall, f1 float64 (C,), and support (gold examples) int64 (C,)."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


class Ranking(NamedTuple):
    """How well each class's probability ranks its examples before the others: float64 (C,)."""

    roc_auc: np.ndarray
    average_precision: np.ndarray


class Calibration(NamedTuple):
    """Confidence against accuracy, in equal bins of the confidence.

    error: the expected calibration error. counts: int64 (M,), examples of each bin; confidence,
    accuracy: float64 (M,), their means, nan in an empty bin.
    """

    error: float
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 (N, C), of logits (N, C); a row that holds inf or nan becomes nan."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        values -= values.max(axis=1, keepdims=True)
        np.exp(values, out=values)
        values /= values.sum(axis=1, keepdims=True)
    return values


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64, of logits that are each by itself, of any shape."""
    return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))


def mean_logits(several: Sequence[np.ndarray]) -> np.ndarray:
    """Logits float32 (..., C) whose probabilities are the mean of those of all of `several`."""
    mean = np.mean([softmax(logits.reshape(-1, logits.shape[-1])) for logits in several], axis=0)
    with np.errstate(divide="ignore"):
        return np.log(mean).astype(np.float32).reshape(several[0].shape)


def top_k_accuracy(probabilities: np.ndarray, *, labels: np.ndarray, k: int) -> float:
    """The share of examples whose class is among the `k` most probable. Of equally probable classes
    the last comes first, as in scikit-learn's `top_k_accuracy_score`."""
    _check(probabilities, labels=labels)
    gold = probabilities[np.arange(len(labels)), labels][:, None]
    ahead = probabilities > gold
    ahead |= (probabilities == gold) & (np.arange(probabilities.shape[1]) > labels[:, None])
    return float((ahead.sum(axis=1) < k).mean())


def per_class(confusion: Confusion) -> PerClass:
    """Precision, recall and F1 of each class: 0 where they would divide by zero, and nan for a
    class that is neither gold nor predicted, as scikit-learn's macro averages have it."""
    counts = confusion.compute()
    return of_counts(counts.diagonal(), predicted=counts.sum(axis=0), gold=counts.sum(axis=1))


def of_counts(correct: np.ndarray, *, predicted: np.ndarray, gold: np.ndarray) -> PerClass:
    """The same from how many examples are predicted to be of each class, are of it, and both;
    int64 (C,), of examples of any number of classes."""

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        found = part / np.maximum(whole, 1)
        return np.where(predicted + gold > 0, found, np.nan)

    f1 = share(2 * correct, predicted + gold)
    return PerClass(share(correct, predicted), share(correct, gold), f1, gold)


def ranking(probabilities: np.ndarray, *, labels: np.ndarray) -> Ranking:
    """Of each class against the rest: the area under the ROC curve, in which equal probabilities
    count half (midranks), and average precision, the mean of the precision at each threshold
    weighted by the recall it adds (steps, not trapezoids)."""
    _check(probabilities, labels=labels)
    return each_ranked(probabilities, positive=lambda c: labels == c)


def each_ranked(probabilities: np.ndarray, *, positive: Callable[[int], np.ndarray]) -> Ranking:
    """The same of examples of any number of classes. positive: class -> bool (N,), its examples."""
    num_classes = probabilities.shape[1]
    roc_auc, average_precision = np.full((2, num_classes), np.nan)
    for c in range(num_classes):
        order = np.argsort(-probabilities[:, c])
        ranked = probabilities[order, c]
        # A threshold lies after the last of each run of equal probabilities.
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        hits = np.cumsum(positive(c)[order])[last]
        misses = last + 1 - hits
        num_positive, num_negative = hits[-1], misses[-1]
        if num_positive and num_negative:
            new_hits, new_misses = np.diff(hits, prepend=0), np.diff(misses, prepend=0)
            # Whole numbers until the division: twice the pairs ranked rightly, a tie counting one.
            right = (new_misses * (2 * hits - new_hits)).sum()
            roc_auc[c] = right / (2 * num_positive * num_negative)
            average_precision[c] = (new_hits * (hits / (last + 1))).sum() / num_positive
    return Ranking(roc_auc, average_precision)


class Curves(NamedTuple):
    """What every threshold of a probability comes to, from the highest down, float64 (T,): the
    share of the others that is taken for the class, the share of the class that is found (recall),
    and the share of what is taken for it that is (precision)."""

    false_positive: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


def curves(scores: np.ndarray, *, positive: np.ndarray) -> Curves:
    """The ROC and the precision-recall curve of one class against the rest, without the point that
    takes nothing. nan where there is no example of the class, or no other.

    Args:
      scores: float (N,). positive: bool (N,), which are of the class.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(positive[order])[last]
    taken = last + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        num = positive.sum()
        return Curves((taken - hits) / (len(positive) - num), hits / num, hits / taken)


def calibration(probabilities: np.ndarray, *, labels: np.ndarray) -> Calibration:
    """Of the probability of the predicted class."""
    _check(probabilities, labels=labels)
    return reliability(probabilities.max(axis=1), correct=probabilities.argmax(axis=1) == labels)


def reliability(confidence: np.ndarray, *, correct: np.ndarray) -> Calibration:
    """The expected calibration error: the mean over the predictions of |accuracy - confidence| of
    their bin, `NUM_BINS` bins of equal width over the confidence, each with its upper edge (Guo et
    al. 2017, section 2); nan of no predictions.

    Args:
      confidence: float (N,), 0 to 1. correct: bool (N,).
    """
    bins = np.searchsorted(np.linspace(0, 1, NUM_BINS + 1)[1:-1], confidence, side="left")
    counts = np.bincount(bins, minlength=NUM_BINS)
    sums = [
        np.bincount(bins, weights=of, minlength=NUM_BINS).astype(np.float64)
        for of in (confidence, correct)
    ]
    error = float(np.abs(sums[0] - sums[1]).sum() / len(bins)) if len(bins) else np.nan
    means = [np.where(counts, of / np.maximum(counts, 1), np.nan) for of in sums]
    return Calibration(error, counts, *means)


def macro(values: np.ndarray) -> float:
    """The mean over the classes that have a value; nan where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def _check(probabilities: np.ndarray, *, labels: np.ndarray) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not labels.size:
        shapes = f"probabilities {probabilities.shape} and labels {labels.shape}"
        raise ValueError(f"expected probabilities (N, C) and labels (N,), N > 0, got {shapes}")
    outside = labels[(labels < 0) | (labels >= probabilities.shape[1])]
    if outside.size:
        raise ValueError(f"label {outside[0]}, expected 0 to {probabilities.shape[1] - 1}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities are not all finite")
