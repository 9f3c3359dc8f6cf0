"""Owns what chance leaves open: intervals of scores, and how likely two systems only differ by it.

A score here is a ratio of sums over examples (sentences, images), or the mean of several: accuracy,
precision, recall, F1, macro F1. An example's words or entities are not independent of each other,
examples are taken to be; so examples are what is drawn. Draws come from a counter (Philox), so the
seed alone determines them.

The bootstrap is the Bayesian one (Rubin 1981): each draw weighs the examples by Dirichlet weights
where the ordinary one counts how often each is drawn. Weights allow half examples: half of one that
is all right and half of one that is all wrong stand beside those of the data. Without them a score
of 1.0 would have the interval [1.0, 1.0] whatever few examples it is of, and scores near it too
narrow ones. For accuracy this is Jeffreys' interval (Brown, Cai and DasGupta 2001).

Suffixes: E examples, D distinct kinds of them, J ratios that the score is the mean of, R draws.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np

LEVEL = 0.95
NUM_DRAWS = 2_000
NUM_SWAPS = 9_999
_BLOCK = 1 << 21  # numbers drawn at once: 16 MB


class Parts(NamedTuple):
    """A score in parts: the mean over J of sum_E(num[kind]) / sum_E(den[kind]).

    Many examples have the same counts, so these are kept once.

    kind: int32 (E,), which row of `num` and `den` an example has. num, den: float64 (D, J), with
    0 <= num <= den. A ratio without any den counts nowhere.
    """

    kind: np.ndarray
    num: np.ndarray
    den: np.ndarray

    @classmethod
    def of(cls, num: np.ndarray, den: np.ndarray) -> Self:
        """A single ratio: of each example its part above and below the line, (E,). F1 is
        2 * correct over predicted + gold, accuracy is correct over all.

        Raises:
          ValueError: arrays of other shapes, or a part that is not 0 <= num <= den.
        """
        num, den = np.asarray(num, np.float64), np.asarray(den, np.float64)
        if num.ndim != 1 or num.shape != den.shape:
            raise ValueError(f"expected num and den (E,), got {num.shape} and {den.shape}")
        if not ((num >= 0) & (num <= den)).all():
            raise ValueError("expected 0 <= num <= den for each example")
        rows, kind = np.unique(np.stack([num, den], axis=1), axis=0, return_inverse=True)
        return cls(kind.reshape(-1).astype(np.int32), rows[:, :1], rows[:, 1:])


class Interval(NamedTuple):
    low: float
    high: float


class Paired(NamedTuple):
    """Of two systems on the same examples.

    difference: the first's score less the second's. low, high: its 95% interval. p_value: how often
    a difference as large would be seen, either way, if it did not matter which system is which.
    """

    difference: float
    low: float
    high: float
    p_value: float


def value(parts: Parts) -> float:
    """The score itself; nan where no example counts."""
    times = np.bincount(parts.kind, minlength=len(parts.num)).astype(np.float64)
    return float(_mean_ratio(times @ parts.num, times @ parts.den))


def interval(parts: Parts, *, seed: int = 0) -> Interval:
    """The 95% interval of a score, equal-tailed; nan where no example counts. It holds the score,
    and reaches 1 (0) where that is 1 (0)."""
    found = value(parts)
    if np.isnan(found):
        return Interval(np.nan, np.nan)
    times, num, den = _kinds(parts)
    mean = _mean_den(times, den)
    shape = np.concatenate([times, np.full(2, 0.5)])
    num = np.concatenate([num, _prior(mean, right=(1, 0))])
    den = np.concatenate([den, _prior(mean, right=(1, 1))])
    draws = [_mean_ratio(w @ num, w @ den) for w in _weights(shape, seed=seed)]
    low, high = _middle(np.concatenate(draws))
    return Interval(
        0.0 if found == 0 else min(low, found),
        1.0 if found == 1 else max(high, found),
    )


def paired(first: Parts, second: Parts, *, seed: int = 0) -> Paired:
    """The difference of two systems' scores on the same examples.

    The p-value is that of approximate randomisation (Noreen 1989): the two answers to an example
    are swapped or not, by chance. Of systems that are equally good on each example it is uniform;
    where few examples differ, so that differences repeat, it errs on the side of a larger value.

    Raises:
      ValueError: another number of examples, or of ratios.
    """
    if first.kind.shape != second.kind.shape or first.num.shape[1] != second.num.shape[1]:
        raise ValueError(
            f"expected the same examples and ratios, got {first.kind.shape} of "
            f"{first.num.shape[1]} and {second.kind.shape} of {second.num.shape[1]}"
        )
    difference = value(first) - value(second)
    if np.isnan(difference):
        return Paired(np.nan, np.nan, np.nan, np.nan)
    joint = first.kind.astype(np.int64) * len(second.num) + second.kind
    pairs, times = np.unique(joint, return_counts=True)
    of_first, of_second = np.divmod(pairs, len(second.num))
    num = first.num[of_first], second.num[of_second]
    den = first.den[of_first], second.den[of_second]
    low, high = _middle(_differences(times, num, den, seed=seed))
    p_value = _p_value(times, num, den, difference=difference, seed=seed)
    return Paired(difference, min(low, difference), max(high, difference), p_value)


def _kinds(parts: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each kind of example is there, float64 (D,), and its parts."""
    times = np.bincount(parts.kind, minlength=len(parts.num)).astype(np.float64)
    there = times > 0
    return times[there], parts.num[there], parts.den[there]


def _mean_den(times: np.ndarray, den: np.ndarray) -> np.ndarray:
    """(J,): the mean of `den` over the examples that count in each ratio."""
    num_counted = times @ (den > 0)
    return times @ den / np.maximum(num_counted, 1)


def _prior(mean: np.ndarray, *, right: tuple[int, ...]) -> np.ndarray:
    """Rows (len(right), J) for examples of average size, a share `right` of them; all ratios
    together get as much as one alone would, or a mean over many rare classes were drawn to 1/2."""
    return np.outer(right, mean / len(mean))


def _weights(shape: np.ndarray, *, seed: int) -> Iterator[np.ndarray]:
    """Weights (r, D) of kinds, `NUM_DRAWS` rows in all: Dirichlet's, not divided by their sum,
    which ratios do not see. A kind's weight is the sum of those of its examples."""
    rng = np.random.Generator(np.random.Philox(seed))
    rows = max(1, _BLOCK // len(shape))
    for begin in range(0, NUM_DRAWS, rows):
        yield rng.standard_gamma(shape, size=(min(rows, NUM_DRAWS - begin), len(shape)))


def _mean_ratio(num: np.ndarray, den: np.ndarray) -> np.ndarray:
    """(..., J) -> (...): the mean over the ratios that have something below the line."""
    known = den > 0
    ratios = np.divide(num, den, out=np.zeros_like(num), where=known)
    with np.errstate(invalid="ignore"):
        return ratios.sum(axis=-1) / known.sum(axis=-1)


def _middle(draws: np.ndarray) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _differences(
    times: np.ndarray,
    num: tuple[np.ndarray, np.ndarray],
    den: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
) -> np.ndarray:
    """Draws of the difference. Half an example of each of four kinds is added: right in both,
    in one, in the other, in none (as Agresti and Min 2005 do for paired proportions)."""
    shape = np.concatenate([times, np.full(4, 0.5)])
    scores = []
    for part, whole, right in zip(num, den, ((1, 1, 0, 0), (1, 0, 1, 0))):
        mean = _mean_den(times, whole)
        part = np.concatenate([part, _prior(mean, right=right)])
        whole = np.concatenate([whole, _prior(mean, right=(1, 1, 1, 1))])
        draws = [_mean_ratio(w @ part, w @ whole) for w in _weights(shape, seed=seed)]
        scores.append(np.concatenate(draws))
    return scores[0] - scores[1]


def _p_value(
    times: np.ndarray,
    num: tuple[np.ndarray, np.ndarray],
    den: tuple[np.ndarray, np.ndarray],
    *,
    difference: float,
    seed: int,
) -> float:
    differ = ((num[0] != num[1]) | (den[0] != den[1])).any(axis=1)
    step_num, step_den = (
        np.repeat((of[1] - of[0])[differ], times[differ], axis=0) for of in (num, den)
    )
    sums = [times @ of for of in (*num, *den)]
    rng = np.random.Generator(np.random.Philox(seed))
    num_bytes = -(-len(step_num) // 8)
    rows, seen = max(1, _BLOCK // max(1, len(step_num))), 1  # what was seen is one of them
    for begin in range(0, NUM_SWAPS, rows):
        size = (min(rows, NUM_SWAPS - begin), num_bytes)
        bits = np.unpackbits(rng.integers(256, size=size, dtype=np.uint8), axis=1)
        swapped = bits[:, : len(step_num)].astype(np.float64)
        by_num, by_den = swapped @ step_num, swapped @ step_den
        drawn = _mean_ratio(sums[0] + by_num, sums[2] + by_den) - _mean_ratio(
            sums[1] - by_num, sums[3] - by_den
        )
        # Sums in another order may differ in their last bits.
        seen += int((np.abs(drawn) >= abs(difference) - 1e-12).sum())
    return seen / (NUM_SWAPS + 1)
