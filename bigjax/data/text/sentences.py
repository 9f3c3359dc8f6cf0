"""Owns the record that every source of tagged text produces, and its content fingerprint.

How a format is read belongs to the source (`conll.py`, `news.py`, `tfds.py`); how words become
rows of sub-words belongs to `text.py` and `packing.py`.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple


class Sentences(NamedTuple):
    """Tagged sentences of one split, in the order of the source.

    words: for each sentence its words (at least one).
    tags: for each sentence the IOB2 tag of each word ("O", "B-PER", "I-PER", ...).
    where: the place the sentences come from, for messages ("dev.conll", "wikiann/en:test").
    """

    words: Sequence[Sequence[str]]
    tags: Sequence[Sequence[str]]
    where: str

    def fingerprint(self) -> str:
        """sha256 (hex) of the content: words and tags in order, not the path."""
        digest = hashlib.sha256()
        for words, tags in zip(self.words, self.tags, strict=True):
            line = "\x1f".join(words) + "\x1e" + "\x1f".join(tags) + "\n"
            digest.update(line.encode())
        return digest.hexdigest()
