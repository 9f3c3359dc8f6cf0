"""Owns what in texts with classes deserves a look before training: texts that repeat, leak or
contradict each other, classes that are rare or missing.

What is looked for in any text belongs to `inspection.py`.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bigjax.data.findings import NUM_PLACES, Finding, conflicts, in_order
from bigjax.data.text import inspection, odd_words
from bigjax.data.text.inspection import FEW, Keys
from bigjax.data.text.odd_words import place
from bigjax.data.text.sentences import Sentences


def findings(
    splits: Mapping[str, Sentences], *, window_sentences: Mapping[str, np.ndarray]
) -> list[Finding]:
    """What deserves a look, serious findings first.

    window_sentences: for each split the text of each window, as `Windows.sentences`.
    """
    keys = inspection.keys_of(splits)
    named = {"things": "texts"}
    found = [*inspection.overlaps(splits, keys, **named), *_conflicts(splits, keys)]
    for split, texts in splits.items():
        found += _classes(split, texts, splits)
        found += inspection.repeated(split, texts, keys[split], **named)
        found += inspection.shapes(split, texts, window_sentences[split], **named)
    return in_order([*found, *inspection.notes(splits)])


def _conflicts(splits: Mapping[str, Sentences], keys: Mapping[str, Keys]) -> Iterator[Finding]:
    """Over all splits, of which each contradiction counts once a text."""
    at = [(split, i) for split in splits for i in range(len(splits[split].words))]
    every = [np.concatenate([getattr(k, f) for k in keys.values()]) for f in ("words", "tags")]
    found = list(conflicts(*every))
    shown = []
    for pair in found[:NUM_PLACES]:
        (split, i), (other, j) = (at[number] for number in pair)
        text = odd_words.excerpt(splits[split].words[i])
        where = f"{place(split, splits[split], i)} and {place(other, splits[other], j)}"
        shown.append(f"{where}: {_named(splits[split], i)} and {_named(splits[other], j)}: {text}")
    yield Finding("equal texts of different classes", len(found), tuple(shown), serious=True)


def _named(texts: Sentences, number: int) -> str:
    return ", ".join(texts.tags[number]) or "no class"


def _classes(split: str, texts: Sentences, splits: Mapping[str, Sentences]) -> Iterator[Finding]:
    """Classes that a split lacks or hardly has."""
    counts = texts.tags.counts()
    every = set().union(*(found.tags.distinct for found in splits.values()))
    absent = sorted(every - set(counts))
    yield Finding(
        f"{split}: classes without a text",
        len(absent),
        _first(absent),
        serious=split == "train",
    )
    rare = sorted((name for name in counts if counts[name] < FEW), key=lambda n: (counts[n], n))
    yield Finding(
        f"{split}: classes of fewer than {FEW} texts",
        len(rare),
        _first([f"{name} ({counts[name]})" for name in rare]),
    )
    bare = np.flatnonzero(texts.tags.lengths == 0)
    yield Finding(
        f"{split}: texts without a class",
        len(bare),
        _first([place(split, texts, i) for i in bare[:NUM_PLACES].tolist()]),
    )


def _first(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[:NUM_PLACES])
