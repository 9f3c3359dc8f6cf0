"""Owns the record that every source of tagged text produces, its content fingerprint, and where
each sentence came from.

How a format is read belongs to the source (`columns.py`, `news.py`, `tfds_text.py`, ...); how words
become rows of sub-words belongs to `windowing.py` and `packing.py`.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PRE_SPLIT = "pre-split"  # the rule that cut text into words is not known: the data came as words


class Note(NamedTuple):
    """Something that was met while reading: what, how often, and the first places (file:line)."""

    what: str
    count: int
    places: tuple[str, ...]


class Origin(NamedTuple):
    """How annotated files became sentences.

    paths: the files; file, line: int32 and int64 (S,), for each sentence the number of its file and
      the line on which it begins.
    found: for each file, what it was recognised as, in one line.
    notes: what was left out or changed on the way.
    rule: the name of the rule that cut text into words (`cutting.RULE`), or PRE_SPLIT.
    """

    paths: tuple[str, ...] = ()
    file: np.ndarray = np.zeros(0, np.int32)
    line: np.ndarray = np.zeros(0, np.int64)
    found: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    rule: str = PRE_SPLIT

    def place(self, sentence: int) -> str:
        """ "file:line" of a sentence."""
        return f"{self.paths[self.file[sentence]]}:{self.line[sentence]}"


class Sentences(NamedTuple):
    """Tagged sentences of one split, in the order of the source.

    words: for each sentence its words (at least one).
    tags: for each sentence the IOB2 tag of each word ("O", "B-PER", "I-PER", ...).
    where: the place the sentences come from, for messages ("dev.conll", "wikiann/en:test").
    origin: of the sentences of annotated files; other sources leave it empty.
    """

    words: Sequence[Sequence[str]]
    tags: Sequence[Sequence[str]]
    where: str
    origin: Origin = Origin()

    def fingerprint(self) -> str:
        """sha256 (hex) of the content: words and tags in order, not the path."""
        digest = hashlib.sha256()
        for words, tags in zip(self.words, self.tags, strict=True):
            line = "\x1f".join(words) + "\x1e" + "\x1f".join(tags) + "\n"
            digest.update(line.encode())
        return digest.hexdigest()
