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
    rows of one key together.

    Raises:
      UserError: a split that gets no row, or train none.
    """
    if sum(fractions.values()) >= 1:
        shares = " and ".join(f"data.{split}_fraction={x}" for split, x in fractions.items())
        raise UserError(f"{shares}: expected a sum below 1, so that rows are left for training")
    order = np.argsort(keys, kind="stable")
    ranked, begin, parts = keys[order], 0, {}
    for split, fraction in fractions.items():
        end = begin + round(fraction * len(rows))
        if end > begin:
            end = int(np.searchsorted(ranked, ranked[min(end, len(rows)) - 1], side="right"))
        parts[split] = np.sort(rows[order[begin:end]])
        begin = max(begin, end)
    parts["train"] = np.sort(rows[order[begin:]])
    empty = [split for split, found in parts.items() if not len(found)]
    if empty:
        raise UserError(
            f"{place}: none of {len(rows):,} rows (equal ones stay together) is left for "
            f"{' and '.join(empty)}; give files, or other data.dev_fraction and data.test_fraction "
            "(0: no such split)"
        )
    return parts


def _hashes(column: Column) -> np.ndarray:
    if column.codes is None:
        values = np.where(np.isnan(column.numbers), np.nan, column.numbers + 0.0)  # one nan, no -0
        return values.view(np.uint64)
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in column.texts]
    table = np.array([*(int.from_bytes(d, "little") for d in digests), 1], np.uint64)
    return table[column.codes]
