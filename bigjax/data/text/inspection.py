"""Owns what in tagged text deserves a look before training: sentences that repeat, leak or
contradict each other, tags that are rare or missing, words that are odd.

What single words and entities look like belongs to `odd_words.py`, the sizes of a split to the
task's report.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

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
from bigjax.data.text import odd_words
from bigjax.data.text.odd_words import place
from bigjax.data.text.sentences import Sentences, Strings
from bigjax.data.text.tags import entity_type, has_spans

FEW = 5  # of a type fewer than this are hardly learnt or scored


class Keys(NamedTuple):
    """Of the sentences of a split, each int64 (S,): equal where the words are equal; where they are
    but for capitals, digits, punctuation and blank; where the tags are. has_letter: bool (S,),
    whether there is a letter, without which nearly equal means nothing."""

    words: np.ndarray
    near: np.ndarray
    tags: np.ndarray
    has_letter: np.ndarray


def findings(
    splits: Mapping[str, Sentences], *, window_sentences: Mapping[str, np.ndarray]
) -> list[Finding]:
    """What deserves a look, serious findings first.

    window_sentences: for each split the sentence of each window, as `Windows.sentences`.
    """
    keys = keys_of(splits)
    found: list[Finding] = []
    found += overlaps(splits, keys)
    found += _conflicts(splits, keys)
    found += _missing(splits)
    for split, sentences in splits.items():
        found += repeated(split, sentences, keys[split])
        found += shapes(split, sentences, window_sentences[split])
        found += odd_words.in_split(split, sentences)
    if has_spans(set().union(*(s.tags.distinct for s in splits.values()))):
        found += odd_words.tagged_differently(splits)
    return in_order([*found, *notes(splits)])


def keys_of(splits: Mapping[str, Sentences]) -> dict[str, Keys]:
    plain: dict[str, str] = {}  # a word to what is compared of it

    def of(strings: Strings) -> np.ndarray:
        return np.fromiter(map(hash, map("\x1f".join, strings)), np.int64, len(strings))

    found = {}
    for split, sentences in splits.items():
        plain |= {w: odd_words.plain(w) for w in sentences.words.distinct if w not in plain}
        joined = ["".join(map(plain.__getitem__, words)) for words in sentences.words]
        has_letter = np.fromiter((any(map(str.isalpha, set(j))) for j in joined), bool)
        near = np.fromiter(map(hash, joined), np.int64, len(joined))
        found[split] = Keys(of(sentences.words), near, of(sentences.tags), has_letter)
    return found


def repeated(
    split: str, sentences: Sentences, keys: Keys, *, things: str = "sentences"
) -> Iterator[Finding]:
    """Equal ones, and nearly equal ones, within a split. things: what they are called."""
    name = lambda i: place(split, sentences, i)  # noqa: E731
    text = lambda i: f": {odd_words.excerpt(sentences.words[i])}"  # noqa: E731
    again, first = repeats(keys.words)
    yield Finding(
        f"{split}: {things} that were there before",
        len(again),
        pairs_of(again, first, name=name, other=name, text=text),
    )
    near, first = repeats(keys.near)
    fresh = keys.has_letter[near] & ~np.isin(near, again)
    near, first = near[fresh], first[fresh]
    yield Finding(
        f"{split}: {things} nearly as one before, but for capitals, digits and punctuation",
        len(near),
        pairs_of(near, first, name=name, other=name, text=text),
    )


def overlaps(
    splits: Mapping[str, Sentences], keys: Mapping[str, Keys], *, things: str = "sentences"
) -> Iterator[Finding]:
    """Those that two splits have."""
    for one, split in itertools.combinations(splits, 2):
        names = {
            "name": lambda i, split=split: place(split, splits[split], i),
            "other": lambda i, one=one: place(one, splits[one], i),
            "text": lambda i, split=split: f": {odd_words.excerpt(splits[split].words[i])}",
        }
        of_both, others = matches(keys[split].words, among=keys[one].words)
        yield Finding(
            f"{split}: {things} that {one} has too",
            len(of_both),
            pairs_of(of_both, others, **names),
            serious=True,
        )
        near, others = matches(keys[split].near, among=keys[one].near)
        fresh = keys[split].has_letter[near] & ~np.isin(near, of_both)
        yield Finding(
            f"{split}: {things} that {one} has nearly so, but for capitals, digits and punctuation",
            int(fresh.sum()),
            pairs_of(near[fresh], others[fresh], **names),
            serious=True,
        )


def _conflicts(splits: Mapping[str, Sentences], keys: Mapping[str, Keys]) -> Iterator[Finding]:
    """Over all splits, of which each contradiction counts once a text."""
    at = [(split, i) for split in splits for i in range(len(splits[split].words))]
    every = [np.concatenate([getattr(k, f) for k in keys.values()]) for f in ("words", "tags")]
    found = list(conflicts(*every))
    shown = []
    for pair in found[:NUM_PLACES]:
        (split, i), (other, j) = (at[number] for number in pair)
        words = splits[split].words[i]
        tags = zip(words, splits[split].tags[i], splits[other].tags[j])
        word, before, tag = next((w, a, b) for w, a, b in tags if a != b)
        where = f"{place(split, splits[split], i)} and {place(other, splits[other], j)}"
        shown.append(f"{where}: {odd_words.shown(word)} is {before} and {tag}")
    yield Finding("equal sentences with different tags", len(found), tuple(shown), serious=True)


def _missing(splits: Mapping[str, Sentences]) -> Iterator[Finding]:
    """Types of entities, or plain tags, that a split lacks or hardly has."""
    of_split = {split: sentences.tags.counts() for split, sentences in splits.items()}
    spans = has_spans(set().union(*of_split.values()))
    count = _entities if spans else Counter
    types = {split: count(tags) for split, tags in of_split.items()}
    thing = "entities of type" if spans else "words with tag"
    for split, counts in types.items():
        absent = [t for t in sorted(set().union(*types.values())) if not counts[t]]
        if split == "train":  # dev and test say where those are
            absent = []
        what = f"{split}: types with no entity" if spans else f"{split}: tags with no word"
        yield Finding(what, len(absent), tuple(absent[:NUM_PLACES]), serious=True)
        rare = sorted((t for t in counts if 0 < counts[t] < FEW), key=lambda t: (counts[t], t))
        yield Finding(
            f"{split}: fewer than {FEW} {thing}",
            len(rare),
            tuple(f"{t} ({counts[t]})" for t in rare[:NUM_PLACES]),
        )
    for split, counts in of_split.items():
        if split == "train" or "train" not in of_split:
            continue
        unseen = sorted(set(counts) - set(of_split["train"]))
        yield Finding(
            f"{split}: tags that train lacks",
            len(unseen),
            tuple(_first_with(split, splits[split], tag) for tag in unseen[:NUM_PLACES]),
            serious=True,
        )


def _entities(tags: Mapping[str, int]) -> Counter[str]:
    return Counter({entity_type(tag): n for tag, n in tags.items() if tag[0] == "B"})


def _first_with(split: str, sentences: Sentences, tag: str) -> str:
    number = list(sentences.tags.distinct).index(tag)
    at = np.flatnonzero(sentences.tags.ids == number)
    sentence = np.searchsorted(sentences.tags.offsets, at[0], side="right") - 1
    return f"{place(split, sentences, int(sentence))}: {tag} ({len(at):,})"


def shapes(
    split: str,
    sentences: Sentences,
    window_sentences: np.ndarray,
    *,
    things: str = "sentences",
) -> Iterator[Finding]:
    """Those that are very short, blank, or longer than a row."""

    def named(numbers: np.ndarray) -> tuple[str, ...]:
        first = numbers[:NUM_PLACES].tolist()
        excerpt = lambda i: odd_words.excerpt(sentences.words[i])  # noqa: E731
        return tuple(f"{place(split, sentences, i)}: {excerpt(i)}" for i in first)

    lengths = sentences.words.lengths
    short = np.flatnonzero(lengths < 2)
    yield Finding(f"{split}: {things} of one word", len(short), named(short))
    blank = np.array([not odd_words.visible(word) for word in sentences.words.distinct], bool)
    of_words = np.r_[0, np.cumsum(~blank[sentences.words.ids])]
    empty = np.flatnonzero(np.diff(of_words[sentences.words.offsets]) == 0)
    yield Finding(f"{split}: {things} in which nothing can be seen", len(empty), named(empty))
    windows = np.bincount(window_sentences, minlength=len(lengths))
    long = np.flatnonzero(windows > 1)
    yield Finding(
        f"{split}: {things} longer than a row, cut into windows",
        len(long),
        tuple(
            f"{p} ({n} word{'s' * (n > 1)})" for p, n in zip(named(long), lengths[long].tolist())
        ),
    )


def notes(splits: Mapping[str, Sentences]) -> Iterator[Finding]:
    """Of the readers; a split made of another's files has the notes of those too."""
    told: set[tuple[str, Sequence[str]]] = set()
    for split, sentences in splits.items():
        for note in sentences.origin.notes:
            if (note.what, note.places) not in told:
                told.add((note.what, note.places))
                yield Finding(f"{split}: {note.what}", note.count, note.places[:NUM_PLACES])
