"""Owns what a finding about data is, and how equal things are found by their keys.

What there is to find belongs to `text/inspection.py` and `images/inspection.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

NUM_PLACES = 5


class Finding(NamedTuple):
    """Something in the data that deserves a look.

    what: with the split it is in. count: how often. places: the first of them, at most NUM_PLACES,
      "file:line" or "split sentence N", and what is there.
    serious: whether it makes scores wrong or training pointless: leakage between splits, equal
      examples with different labels, types or classes that are missing.
    """

    what: str
    count: int
    places: tuple[str, ...] = ()
    serious: bool = False


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Those that found something, serious ones first."""
    return sorted((found for found in findings if found.count), key=lambda found: not found.serious)


def repeats(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of keys (n,): the places that have an equal one before them, and the first of its equals."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    of_each = first[inverse.reshape(-1)]
    again = np.flatnonzero(of_each != np.arange(len(keys)))
    return again, of_each[again]


def matches(keys: np.ndarray, *, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of keys (n,) that are among others (m,), and the first place there."""
    distinct, first = np.unique(among, return_index=True)
    if not len(distinct):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(distinct, keys), len(distinct) - 1)
    found = np.flatnonzero(distinct[at] == keys)
    return found, first[at[found]]


def conflicts(keys: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of places with equal keys (n,) and different labels (n,): for each key that has
    several, its first place and the first that differs from it, in order."""
    again, first = repeats(keys)
    told = set()
    for place, before in zip(again.tolist(), first.tolist()):
        if labels[place] != labels[before] and before not in told:
            told.add(before)
            yield before, place


def pairs_of(
    places: np.ndarray,
    others: np.ndarray,
    *,
    name: Callable[[int], str],
    other: Callable[[int], str],
    text: Callable[[int], str] | None = None,
) -> tuple[str, ...]:
    """The first pairs: the name of each place, that of the other, and the text there."""
    shown = zip(places[:NUM_PLACES].tolist(), others[:NUM_PLACES].tolist())
    return tuple(f"{name(a)} = {other(b)}{text(a) if text else ''}" for a, b in shown)
