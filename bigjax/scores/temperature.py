"""Owns the temperature of a model: the one number that its logits are divided by so that its
probabilities mean what they say (Guo et al. 2017). No prediction changes by it.

It is fitted to examples that training did not see, by their likelihood. What a model's likelihood
is, and what its temperature divides, belongs to its task.
"""

import math
from collections.abc import Callable

import numpy as np

_MOST = 3.0  # of |log T|: from 1/20 to 20
_EXACT = 1e-5  # of log T
_GOLDEN = (math.sqrt(5) - 1) / 2
_BLOCK = 1 << 21  # numbers at once: 16 MB

Loss = Callable[[float], float]


def fit(loss: Loss) -> float:
    """The temperature of the least loss; 1.0 where there is none.

    A standard normal prior of log T stands beside the examples: it weighs less than one of them,
    and keeps a model that is right on all of them from certainty.

    Args:
      loss: temperature -> the summed negative log-likelihood of the examples, convex in 1 / T.
    """

    def total(log_temperature: float) -> float:
        return loss(math.exp(log_temperature)) + log_temperature**2 / 2

    if not math.isfinite(total(0.0)):
        return 1.0
    low, high = -_MOST, _MOST
    points = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    totals = [total(point) for point in points]
    while high - low > _EXACT:  # golden-section search: one new point a round
        if totals[0] <= totals[1]:
            high, points[1], totals[1] = points[1], points[0], totals[0]
            points[0] = high - _GOLDEN * (high - low)
            totals[0] = total(points[0])
        else:
            low, points[0], totals[0] = points[0], points[1], totals[1]
            points[1] = low + _GOLDEN * (high - low)
            totals[1] = total(points[1])
    return math.exp((low + high) / 2)


def softmax_loss(logits: np.ndarray, *, labels: np.ndarray) -> Loss:
    """The loss of class ids (N,) by the softmax of logits (N, C), computed in float64."""
    rows = max(1, _BLOCK // max(1, logits.shape[1]))

    def loss(temperature: float) -> float:
        total = 0.0
        for begin in range(0, len(labels), rows):
            scaled = logits[begin : begin + rows].astype(np.float64) / temperature
            scaled -= scaled.max(axis=1, keepdims=True)
            gold = np.take_along_axis(scaled, labels[begin : begin + rows, None], axis=1)
            total += float((np.log(np.exp(scaled).sum(axis=1)) - gold[:, 0]).sum())
        return total

    return loss


def divided(logits: np.ndarray, temperature: float) -> np.ndarray:
    """In float64, where no two float32 that differ become equal: what was largest still is."""
    return logits.astype(np.float64) / temperature
