"""Owns the record that every source of tagged text produces, how it lies in memory, its content
fingerprint, and where each sentence came from.

How a format is read belongs to the source (`columns.py`, `news.py`, `tfds_text.py`, ...); how words
become rows of sub-words belongs to `windowing.py` and `packing.py`.
"""

import dataclasses
import hashlib
import itertools
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from bigjax.errors import UserError

PRE_SPLIT = "pre-split"  # the rule that cut text into words is not known: the data came as words

_BLOCK = 4096  # sentences that are strings at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Strings:
    """A list of strings for each sentence, of which each distinct one is kept once: `strings[i]`
    makes the list of sentence i, a slice makes several, and a loop makes one after the other.

    distinct: the strings there are; what is read from a source are those that occur, in the order
      in which they do first.
    ids: integers (num,), for each string of all sentences its place in `distinct`.
    offsets: int64 (num_sentences + 1,), those of sentence i are `ids[offsets[i]:offsets[i + 1]]`.
    """

    distinct: Sequence[str]
    ids: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, sentences: Iterable[Iterable[str]]) -> Self:
        """Goes through the sentences once and keeps none of them."""
        number = _Numbers()
        ids, offsets = array("i"), array("q", [0])
        for strings in sentences:
            ids.extend(map(number.__getitem__, strings))
            offsets.append(len(ids))
        return cls(list(number), _narrow(ids, len(number)), np.array(offsets, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # from the end where it is negative; IndexError outside
        ids = self.ids[self.offsets[index] : self.offsets[index + 1]]
        return [self.distinct[i] for i in ids.tolist()]

    def __iter__(self) -> Iterator[list[str]]:
        for begin in range(0, len(self), _BLOCK):
            offsets = self.offsets[begin : begin + _BLOCK + 1]
            ids = self.ids[offsets[0] : offsets[-1]].tolist()
            strings = list(map(self.distinct.__getitem__, ids))
            for start, end in itertools.pairwise((offsets - offsets[0]).tolist()):
                yield strings[start:end]

    def __eq__(self, other: Any) -> bool:
        """Whether the lists are those of `other`, which may be any sequence of sequences."""
        if not hasattr(other, "__len__"):
            return NotImplemented
        return len(self) == len(other) and all(a == list(b) for a, b in zip(self, other))

    __hash__ = None

    @property
    def lengths(self) -> np.ndarray:
        """int64 (num_sentences,), how many strings each sentence has."""
        return np.diff(self.offsets)

    def counts(self) -> dict[str, int]:
        """How often each of `distinct` occurs."""
        counts = np.bincount(self.ids, minlength=len(self.distinct))
        return dict(zip(self.distinct, counts.tolist()))


class Note(NamedTuple):
    """Something that was met while reading: what, how often, and the first places (file:line)."""

    what: str
    count: int
    places: tuple[str, ...]


class Origin(NamedTuple):
    """How annotated files became sentences.

    paths: the files; file, line: int32 and int64 (S,), for each sentence the number of its file and
      the line on which it begins.
    document: int32 (S,), for each sentence the number of its document in its file, from 1; 0 where
      the file does not say where one begins.
    found: for each file, what it was recognised as, in one line.
    notes: what was left out or changed on the way.
    rule: the name of the rule that cut text into words (`cutting.RULE`), or PRE_SPLIT.
    begin: int64 (S,), for each sentence where it begins, as `columns` count: the line, or in a file
      of JSON, which may hold several on a line, the number of the record, from 0.
    columns: of files that say more of a sentence: path -> (name of a column or key, `begin` of
      sentences) -> for each of these what stands there; reads the file again, raises UserError.
    """

    paths: tuple[str, ...] = ()
    file: np.ndarray = np.zeros(0, np.int32)
    line: np.ndarray = np.zeros(0, np.int64)
    document: np.ndarray = np.zeros(0, np.int32)
    found: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    rule: str = PRE_SPLIT
    begin: np.ndarray = np.zeros(0, np.int64)
    columns: Mapping[str, Callable[[str, Collection[int]], Mapping[int, str]]] = {}  # noqa: RUF012 - read only

    def place(self, sentence: int) -> str:
        """ "file:line" of a sentence."""
        return f"{self.paths[self.file[sentence]]}:{self.line[sentence]}"


class Sentences(NamedTuple):
    """Tagged sentences, or texts with their classes, of one split, in the order of the source.

    words: for each sentence its words (at least one).
    tags: for each sentence the IOB2 tag of each word ("O", "B-PER", "I-PER", ...); for each text
      the names of its classes, whatever the number of its words.
    where: the place the sentences come from, for messages ("dev.conll", "wikiann/en:test").
    origin: of the sentences of annotated files; other sources leave it empty.
    """

    words: Strings
    tags: Strings
    where: str
    origin: Origin = Origin()

    def fingerprint(self) -> str:
        """sha256 (hex) of the content: words and tags in order, not the path."""
        digest = hashlib.sha256()
        for words, tags in zip(self.words, self.tags, strict=True):
            line = "\x1f".join(words) + "\x1e" + "\x1f".join(tags) + "\n"
            digest.update(line.encode())
        return digest.hexdigest()

    def column(self, name: str) -> list[str]:
        """What stands beside each sentence in the column or under the key `name` of its file;
        "file" is the file itself, and "document" its document where the file marks them.

        Raises:
          UserError: no such column, or files that have none.
        """
        origin = self.origin
        paths, has_documents = origin.paths, origin.document.any()
        if name == "file" and paths:
            return [paths[i] for i in origin.file]
        if name == "document" and has_documents:
            return [f"{paths[i]}:{n}" for i, n in zip(origin.file, origin.document.tolist())]
        without = [path for path in paths or (self.where,) if path not in origin.columns]
        if without:
            there = ["there is 'file'"] * bool(paths) + ["and 'document'"] * bool(has_documents)
            raise UserError(
                f"{without[0]}: has no column {name!r}, only words with their labels; expected "
                f"JSON records or a table with a header{'; ' * bool(there)}{' '.join(there)}"
            )
        found = {}
        for number, path in enumerate(paths):
            asked = frozenset(origin.begin[origin.file == number].tolist())
            of_file = origin.columns[path](name, asked)
            if len(of_file) < len(asked):
                raise UserError(
                    f"{path}: has other lines than when it was first read; expected a file that "
                    f"can be read twice, for its column {name!r}"
                )
            found[number] = of_file
        return [found[i][at] for i, at in zip(origin.file.tolist(), origin.begin.tolist())]


def collect(tagged: Iterable[tuple[Sequence[str], Sequence[str]]], *, where: str) -> Sentences:
    """The record of sentences given as (words, tags), as many of both, which are gone through once.
    None of them is kept."""
    of_word, of_tag = _Numbers(), _Numbers()
    words, tags, offsets = array("i"), array("i"), array("q", [0])
    for found, names in tagged:
        words.extend(map(of_word.__getitem__, found))
        tags.extend(map(of_tag.__getitem__, names))
        offsets.append(len(words))
    assert len(words) == len(tags)
    ends = np.array(offsets, np.int64)
    return Sentences(
        Strings(list(of_word), _narrow(words, len(of_word)), ends),
        Strings(list(of_tag), _narrow(tags, len(of_tag)), ends),
        where,
    )


def with_classes(
    texts: Iterable[tuple[Sequence[str], Sequence[str]]],
    *,
    where: str,
    origin: Origin | None = None,
) -> Sentences:
    """The record of texts given as (words, names of classes). One without words has an empty one,
    which is read as a word that is not known."""
    found = [(list(words) or [""], names) for words, names in texts]
    words, classes = (Strings.of(side) for side in zip(*found)) if found else (Strings.of([]),) * 2
    return Sentences(words, classes, where, origin or Origin())


class _Numbers(dict[str, int]):
    """String to number, in the order in which they are asked for."""

    def __missing__(self, string: str) -> int:
        return self.setdefault(string, len(self))


def _narrow(ids: array, num: int) -> np.ndarray:
    """The ids, all below `num`, in as few bytes as hold them."""
    return np.array(ids, np.min_scalar_type(max(0, num - 1)))
