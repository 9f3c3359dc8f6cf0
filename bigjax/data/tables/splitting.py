"""Owns which rows of a table are held out: by a hash of what they hold, so that equal rows are in
the same split, whatever their order in the file."""

import hashlib
from collections.abc import Collection, Mapping

import numpy as np

from bigjax.data.tables.raw_table import Column, RawTable
from bigjax.errors import UserError

_MIXERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of SplitMix64


def row_keys(table: RawTable, *, skip: Collection[str], seed: int) -> np.ndarray:
    """A hash of each row without the columns `skip`, uint64 (N,)."""
    keys = np.full(len(table.lines), seed, np.uint64)
    for name, column in table.columns.items():
        if name not in skip:
            keys = mixed(keys + _hashes(column))
    return mixed(keys)


def mixed(keys: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * _MIXERS[0]
    keys = (keys ^ (keys >> np.uint64(27))) * _MIXERS[1]
    return keys ^ (keys >> np.uint64(31))


def carve(
    rows: np.ndarray, keys: np.ndarray, *, fractions: Mapping[str, float], place: str
) -> dict[str, np.ndarray]:
    """`rows` as "train" and the splits of `fractions`, in order: those of the smallest keys first,
    rows of one key together, unless so many are equal that the splits would not have their sizes.

    Raises:
      UserError: a split that gets no row, or train none.
    """
    if sum(fractions.values()) >= 1:
        shares = " and ".join(f"data.{split}_fraction={x}" for split, x in fractions.items())
        raise UserError(f"{shares}: expected a sum below 1, so that rows are left for training")
    sizes = {split: round(fraction * len(rows)) for split, fraction in fractions.items()}
    parts = _parts(rows, keys, sizes=sizes)
    if not len(parts["train"]) or any(len(parts[s]) > 1.5 * n + 1 for s, n in sizes.items()):
        _, inverse = np.unique(keys, return_inverse=True)
        parts = _parts(rows, mixed(keys ^ mixed(_occurrences(inverse))), sizes=sizes)
    empty = [split for split, found in parts.items() if not len(found)]
    if empty:
        raise UserError(
            f"{place}: none of {len(rows):,} rows is left for {' and '.join(empty)}; give more "
            "rows, files, or other data.dev_fraction and data.test_fraction (0: no such split)"
        )
    return parts


def _parts(
    rows: np.ndarray, keys: np.ndarray, *, sizes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    order = np.argsort(keys, kind="stable")
    ranked, begin, parts = keys[order], 0, {}
    for split, size in sizes.items():
        end = min(begin + size, len(rows))
        if end > begin:
            end = int(np.searchsorted(ranked, ranked[end - 1], side="right"))
        parts[split] = np.sort(rows[order[begin:end]])
        begin = end
    parts["train"] = np.sort(rows[order[begin:]])
    return parts


def _occurrences(ids: np.ndarray) -> np.ndarray:
    """Of each place how many before it have the same id, uint64 (N,)."""
    order = np.argsort(ids, kind="stable")
    ranked = ids[order]
    begins = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    lengths = np.diff(np.append(begins, len(ids)))
    found = np.empty(len(ids), np.uint64)
    found[order] = np.arange(len(ids)) - np.repeat(begins, lengths)
    return found


def _hashes(column: Column) -> np.ndarray:
    if column.codes is None:
        values = np.where(np.isnan(column.numbers), np.nan, column.numbers + 0.0)  # one nan, no -0
        return values.view(np.uint64)
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in column.texts]
    table = np.array([*(int.from_bytes(d, "little") for d in digests), 1], np.uint64)
    return table[column.codes]
