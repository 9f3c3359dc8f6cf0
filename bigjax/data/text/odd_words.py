"""Owns which words, and which words of entities, deserve a look: characters that cannot be seen,
entities that begin or end in punctuation, words that are tagged one way here and another there."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bigjax.data.findings import NUM_PLACES, Finding
from bigjax.data.text.sentences import Sentences
from bigjax.data.text.tags import entity_type, has_spans

USUAL = 0.8  # a word that has one type in this share of its occurrences or more means that type
_NUM_SHOWN = 50  # characters of a text

_PAIRS = ("()", "[]", "{}", "<>", "«»", "“”", "‘’", ("``", "''"), ("''", "''"), "''", '""')


def plain(word: str) -> str:
    """A word in small letters, its digits 0, without punctuation and blank."""
    if word.isascii() and word.isalpha():
        return word.lower()
    kept = (c for c in word.casefold() if c.isalnum() or unicodedata.category(c)[0] in "MS")
    return "".join("0" if c.isdigit() else c for c in kept)


def visible(word: str) -> str:
    """What of a word can be seen."""
    return "".join(c for c in word if not _is_blank(c))


def shown(word: str) -> str:
    """A text for a message: quoted, what cannot be seen as an escape, not too long."""
    return repr(word if len(word) <= _NUM_SHOWN else f"{word[:_NUM_SHOWN]}...")


def excerpt(words: Iterable[str]) -> str:
    """Words for a message, as they are joined by blanks."""
    return shown(" ".join(words))


def in_split(split: str, sentences: Sentences) -> Iterator[Finding]:
    """What is odd in the words, entities and tags of a split by itself."""
    words = sentences.words
    hidden = np.array([_has_hidden(word) for word in words.distinct], bool)[words.ids]
    yield _of_words(
        f"{split}: words with zero-width or control characters", split, sentences, hidden
    )
    if not has_spans(sentences.tags.distinct):
        return
    begins, ends, illegal = _tag_places(sentences)
    starts, last = np.flatnonzero(begins), np.flatnonzero(ends)
    last = last[np.searchsorted(last, starts)]
    edge = np.array([_is_edge(word) for word in words.distinct], bool)[words.ids]
    for what, at in (("begin", starts), ("end", last)):
        odd, places = 0, []
        for i in np.flatnonzero(edge[at]).tolist():
            entity = [words.distinct[k] for k in words.ids[starts[i] : last[i] + 1].tolist()]
            word = words.distinct[words.ids[at[i]]]
            if _has_partner(word, entity):
                continue
            odd += 1
            if len(places) < NUM_PLACES:
                places.append(f"{_place(split, sentences, int(at[i]))}: {excerpt(entity)}")
        yield Finding(f"{split}: entities that {what} in blank or punctuation", odd, tuple(places))
    yield _of_words(
        f"{split}: I- tags with no entity before them to go on with", split, sentences, illegal
    )


class _Uses(NamedTuple):
    """Of the words of all splits, each (num,): the number of the word among `words`, and of its
    type among `types`, of which "" is 0. starts: where each split begins."""

    words: list[str]
    types: list[str]
    word: np.ndarray
    type: np.ndarray
    starts: np.ndarray


def tagged_differently(splits: Mapping[str, Sentences]) -> Iterator[Finding]:
    """Over all splits, occurrences of words that nearly always are of one type and here are not;
    the most frequent words first."""
    uses = _uses(splits)
    num_types = len(uses.types)
    pairs, counts = np.unique(uses.word * num_types + uses.type, return_counts=True)
    table_word, table_type = np.divmod(pairs, num_types)
    total = np.bincount(table_word, weights=counts).astype(np.int64)
    share = counts / total[table_word]
    # One other occurrence, as in 4 of 5, is the least that can be odd.
    is_usual = (table_type > 0) & (share >= USUAL) & (share < 1)
    usual_type = np.full(len(total), -1)
    usual_type[table_word[is_usual]] = table_type[is_usual]
    usual_count = np.zeros(len(total), np.int64)
    usual_count[table_word[is_usual]] = counts[is_usual]
    for number in np.flatnonzero(usual_type >= 0).tolist():
        if not any(map(str.isalpha, uses.words[number])):
            usual_type[number] = -1
    odd = (usual_type[uses.word] >= 0) & (usual_type[uses.word] != uses.type)
    at = np.flatnonzero(odd)
    words, first = np.unique(uses.word[at], return_index=True)
    most = np.argsort(-total[words], kind="stable")[:NUM_PLACES]
    names = list(splits)
    places = []
    for word, use in zip(words[most].tolist(), at[first[most]].tolist()):
        of_split = int(np.searchsorted(uses.starts, use, side="right")) - 1
        where = _place(names[of_split], splits[names[of_split]], use - int(uses.starts[of_split]))
        here = uses.types[uses.type[use]] or "O"
        usual = f"{uses.types[usual_type[word]]} in {usual_count[word]:,} of {total[word]:,}"
        places.append(f"{where}: {shown(uses.words[word])} is {here}, {usual}")
    yield Finding("words of entities that are tagged differently here", len(at), tuple(places))


def _uses(splits: Mapping[str, Sentences]) -> _Uses:
    number_of: dict[str, int] = {}
    type_of: dict[str, int] = {"": 0}
    word, kind, starts = [], [], [0]
    for sentences in splits.values():
        numbers = [number_of.setdefault(w, len(number_of)) for w in sentences.words.distinct]
        types = [
            type_of.setdefault("" if tag == "O" else entity_type(tag), len(type_of))
            for tag in sentences.tags.distinct
        ]
        word.append(np.array(numbers, np.int64)[sentences.words.ids])
        kind.append(np.array(types, np.int64)[sentences.tags.ids])
        starts.append(starts[-1] + len(sentences.words.ids))
    return _Uses(
        list(number_of),
        list(type_of),
        np.concatenate(word),
        np.concatenate(kind),
        np.array(starts[:-1]),
    )


def _tag_places(sentences: Sentences) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each word, bool (num,): whether it begins an entity, ends one, or has an I- that goes on
    with nothing."""
    tags = sentences.tags
    letter = np.array([tag[0] for tag in tags.distinct])[tags.ids]
    kinds: dict[str, int] = {}
    kind = np.array([kinds.setdefault(tag[1:], len(kinds)) for tag in tags.distinct])[tags.ids]
    first = np.zeros(len(tags.ids), bool)
    first[tags.offsets[:-1]] = True
    same = ~first & (kind == np.r_[-1, kind[:-1]]) & (np.concatenate([["O"], letter[:-1]]) != "O")
    goes_on = (letter == "I") & same
    ends = (letter != "O") & ~np.r_[goes_on[1:], False]
    return letter == "B", ends, (letter == "I") & ~same


def _of_words(what: str, split: str, sentences: Sentences, chosen: np.ndarray) -> Finding:
    """chosen: bool (num,), of all words of the split."""
    at = np.flatnonzero(chosen)
    ids = sentences.words.ids
    return Finding(
        what,
        len(at),
        tuple(
            f"{_place(split, sentences, i)}: {shown(sentences.words.distinct[ids[i]])}"
            for i in at[:NUM_PLACES].tolist()
        ),
    )


def _place(split: str, sentences: Sentences, word: int) -> str:
    """The place of the sentence of a word."""
    number = int(np.searchsorted(sentences.words.offsets, word, side="right")) - 1
    return place(split, sentences, number)


def place(split: str, sentences: Sentences, number: int) -> str:
    """ "file:line" of a sentence, or its number where it is of no file."""
    if len(sentences.origin.file):
        return sentences.origin.place(number)
    return f"{split} sentence {number + 1}"


def _has_partner(word: str, entity: Sequence[str]) -> bool:
    """Whether a bracket or quote has its other half in the entity, as in "Ali ( boxer )"."""
    return any(
        entity.count(other) > (other == word)
        for pair in _PAIRS
        for one, other in (pair, pair[::-1])
        if one == word
    )


def _is_edge(word: str) -> bool:
    """Whether it is punctuation and nothing else, or has blank at its edges."""
    if word.isalnum():
        return False
    return word != word.strip() or all(unicodedata.category(c)[0] in "PZC" for c in word)


def _is_blank(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cc", "Cf")


def _has_hidden(word: str) -> bool:
    if word.isprintable():
        return "\ufffd" in word  # what stands for bytes that were no text
    return any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in word)
