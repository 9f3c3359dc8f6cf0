"""Owns which examples share a row: a plan for a whole epoch at once, the same on any topology.

What an example is, and the arrays of a row, belong to `text.py`.

The plan is made once from the histogram of lengths and is the same for every epoch, so an epoch has
a fixed number of rows and any batch of any epoch can be named without visiting the ones before it.
An epoch deals its examples anew: each place of length n in the plan gets a random example of that
length, and the rows are visited in random order. Every example occurs exactly once an epoch, and
rows are drawn regardless of length, so no batch is biased towards short or long ones.

Packing by histogram: Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination".
The fit is best-fit over a random order of lengths rather than over sorted ones: a row then mixes
lengths as a random draw would.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bigjax.data.shuffling import random_order
from bigjax.errors import UserError

# Plans of this many examples take about 0.1 s; a larger data set repeats one such plan.
BLOCK_SIZE = 65536
_SHORTEST_ROW = 16


class Packing(NamedTuple):
    """Rows of places; a place is (length, rank among the examples of that length).

    row_offsets: int64 (num_rows + 1,), the places of row r are `row_offsets[r]:row_offsets[r + 1]`.
    place: int64 (num_examples,), for each place a position among the examples sorted by length.
    lengths: int32 (num_examples,), the length of each example.
    row_length: tokens in a row.
    """

    row_offsets: np.ndarray
    place: np.ndarray
    lengths: np.ndarray
    row_length: int

    @property
    def num_rows(self) -> int:
        return len(self.row_offsets) - 1

    @property
    def fill(self) -> float:
        """The share of the rows' tokens that are real."""
        return float(self.lengths.sum(dtype=np.int64)) / (self.num_rows * self.row_length)


def plan(lengths: np.ndarray, *, row_length: int) -> Packing:
    """Packs examples of the given lengths (num_examples,) into rows of `row_length` tokens.

    Deterministic in its arguments, on any machine and any number of processes.

    Raises:
      UserError: no example at all. Lengths outside 1..row_length are a bug of the caller.
    """
    lengths = np.asarray(lengths, np.int32)
    if not len(lengths):
        raise UserError("no examples to pack: the data set is empty")
    assert lengths.min() > 0 and lengths.max() <= row_length, (lengths.min(), lengths.max())

    counts = np.bincount(lengths, minlength=row_length + 1).astype(np.int64)
    num_blocks = max(1, len(lengths) // BLOCK_SIZE)
    per_block = counts // num_blocks
    rest = counts - per_block * num_blocks
    first = np.cumsum(counts) - counts  # position of each length's first example, sorted by length

    block_lengths, block_sizes = _best_fit(per_block, row_length=row_length)
    rest_lengths, rest_sizes = _best_fit(rest, row_length=row_length)
    # In block b the examples of length n have ranks b * per_block[n] and up, the rest come last.
    base = first[block_lengths] + _rank_within_value(block_lengths)
    blocks = np.arange(num_blocks)[:, None] * per_block[block_lengths] + base
    rest_place = (first + per_block * num_blocks)[rest_lengths] + _rank_within_value(rest_lengths)
    sizes = np.concatenate([np.tile(block_sizes, num_blocks), rest_sizes])
    return Packing(
        row_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        place=np.concatenate([blocks.reshape(-1), rest_place]),
        lengths=lengths,
        row_length=row_length,
    )


def short_row(num_tokens: int) -> int:
    """The length of a row for so many tokens, where it may be short: a power of two, so that few
    lengths are compiled."""
    return max(_SHORTEST_ROW, 1 << max(num_tokens - 1, 0).bit_length())


def epochs(packing: Packing, *, seed: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    """An endless stream of rows: row g is row `g % num_rows` of epoch `g // num_rows`.

    Returns:
      A pure function from row numbers (n,) to n arrays of example ids.
    Raises:
      UserError: a negative seed.
    """
    if seed < 0:
        raise UserError(f"seed={seed}: expected 0 or more")

    @functools.lru_cache(maxsize=2)  # a batch may straddle two epochs
    def deal(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        # Only the raw stream of the generator is used: it never changes between NumPy versions.
        stream = np.random.Philox(np.random.SeedSequence((seed, epoch)))
        row_order = random_order(stream, num=packing.num_rows)
        examples = random_order(stream, num=len(packing.lengths), within=packing.lengths)
        return row_order, examples

    def rows(numbers: np.ndarray) -> list[np.ndarray]:
        found = []
        for number in numbers:
            epoch, row = divmod(int(number), packing.num_rows)
            row_order, examples = deal(epoch)
            found.append(examples[_places(packing, row_order[row])])
        return found

    return rows


def once(packing: Packing) -> Callable[[np.ndarray], list[np.ndarray]]:
    """One pass in the order of the plan, for evaluation; a row past the end is empty."""
    examples = np.argsort(packing.lengths, kind="stable")
    nothing = np.zeros(0, np.int64)

    def rows(numbers: np.ndarray) -> list[np.ndarray]:
        return [
            examples[_places(packing, number)] if number < packing.num_rows else nothing
            for number in numbers
        ]

    return rows


def _places(packing: Packing, row: int) -> np.ndarray:
    return packing.place[packing.row_offsets[row] : packing.row_offsets[row + 1]]


def _rank_within_value(values: np.ndarray) -> np.ndarray:
    """For each entry the number of equal entries before it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(values) else order
    run_lengths = np.diff(np.r_[starts, len(values)])
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - np.repeat(starts, run_lengths)
    return rank


def _best_fit(counts: np.ndarray, *, row_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Packs `counts[n]` items of each length n: (lengths of all items, row by row; items a row).

    Each item, in random order, goes to the open row with the least room that still holds it.
    """
    items = np.repeat(np.arange(len(counts)), counts)
    items = items[np.argsort(np.random.Philox(0).random_raw(len(items)), kind="stable")]
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(row_length + 1)]  # rows by free tokens
    free_sizes = 0  # bit n is set while some row has n tokens free
    for item in items.tolist():
        fitting = free_sizes >> item
        if fitting:
            room = item + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                free_sizes &= ~(1 << room)
        else:
            room, row = row_length, len(rows)
            rows.append([])
        rows[row].append(item)
        left = room - item
        if left:
            with_room[left].append(row)
            free_sizes |= 1 << left
    flat = np.array([item for row in rows for item in row], np.int64)
    return flat, np.array([len(row) for row in rows], np.int64)
