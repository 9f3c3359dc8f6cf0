"""Owns the scores of predicted numbers: exact, on the host in float64, of all examples at once."""

from typing import NamedTuple

import numpy as np


class ValueScores(NamedTuple):
    """The root of the mean square of the errors, their mean size, and the share of the variance of
    the truth that they leave explained; nan where the truth does not vary."""

    rmse: float
    mae: float
    r2: float


def value_scores(predicted: np.ndarray, *, truth: np.ndarray) -> ValueScores:
    """Of float arrays (N,), N > 0."""
    if predicted.shape != truth.shape or predicted.ndim != 1 or not truth.size:
        raise ValueError(f"expected equal shapes (N,), got {predicted.shape} and {truth.shape}")
    errors = predicted.astype(np.float64) - truth.astype(np.float64)
    squares = float(np.square(errors).sum())
    spread = float(np.square(truth - truth.mean(dtype=np.float64)).sum())
    r2 = 1 - squares / spread if spread else np.nan
    return ValueScores(float(np.sqrt(squares / len(errors))), float(np.abs(errors).mean()), r2)
