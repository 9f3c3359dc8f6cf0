"""Owns what in a table deserves a look: equal rows within and between splits, with other targets or
the same, columns that say the target, and columns that are mostly missing."""

from collections.abc import Iterator, Mapping

import numpy as np

from bigjax.data.findings import (
    NUM_PLACES,
    Finding,
    conflicts,
    in_order,
    matches,
    pairs_of,
    repeats,
)
from bigjax.data.tables.splitting import mixed
from bigjax.data.tables.table_sources import Split, Tables


def findings(tables: Tables) -> list[Finding]:
    """Serious ones first. Rows are equal where all that the network sees of them is."""
    keys = {name: row_keys(split) for name, split in tables.splits.items()}
    found = [*_between(tables.splits, keys), *_within(tables, keys)]
    return in_order(found)


def row_keys(split: Split) -> np.ndarray:
    """A hash of each row's inputs, uint64 (N,)."""
    keys = np.zeros(len(split.ids), np.uint64)
    for array in (split.arrays.numbers, split.arrays.categories):
        for column in array.T:
            values = column[split.ids]
            if values.dtype == np.float32:
                values = (values + np.float32(0)).view(np.uint32)  # no -0
            keys = mixed(keys + values.astype(np.uint64))
    return keys


def _between(splits: Mapping[str, Split], keys: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Rows that are in two splits."""
    names = list(splits)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            places, partners = matches(keys[other], among=keys[one])
            yield Finding(
                f"rows of {other} that are in {one} too",
                len(places),
                pairs_of(places, partners, name=splits[other].where, other=splits[one].where),
                serious=True,
            )


def _within(tables: Tables, keys: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    goal = tables.plan.target
    for name, split in tables.splits.items():
        again, first = repeats(keys[name])
        yield Finding(
            f"rows of {name} that are there before",
            len(again),
            pairs_of(again, first, name=split.where, other=split.where),
        )
        if not goal.classes:
            continue
        pairs = list(conflicts(keys[name], split.target))
        told = (
            f"{split.where(a)} = {split.where(b)}: {goal.classes[split.target[a]]} and "
            f"{goal.classes[split.target[b]]}"
            for a, b in pairs[:NUM_PLACES]
        )
        yield Finding(f"equal rows of {name} with another class", len(pairs), tuple(told))
