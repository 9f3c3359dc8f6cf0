"""Owns words to sub-words, windows over long sentences, and the arrays of a packed row.

Tokenizers belong to `tokenization.py`, which examples share a row to `packing.py`; what a label is
belongs to the task.

Nothing is lost: a word the tokenizer turns into nothing becomes its unknown token, and a sentence
longer than a row becomes overlapping windows in which each word is owned, that is labelled and
predicted, by exactly one.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tokenizers

from bigjax.data.text.sentences import Strings
from bigjax.data.text.tokenization import encode_words, special_tokens, unknown_token
from bigjax.errors import UserError

_BLOCK = 2**19  # sub-words put into windows at once; what says where takes 50 bytes of each
_NUM_ENCODED = 2**14  # distinct words that the tokenizer gets at once


class Windows(NamedTuple):
    """Token sequences ready to be packed; most sentences are one window.

    tokens: ids of all windows, one after the other, special tokens included.
    words: for each token the number of the word that it labels, counted over the split, or -1: the
      first sub-word of a word in the window that owns the word.
    offsets: int64 (num_windows + 1,), window w is `tokens[offsets[w]:offsets[w + 1]]`.
    sentences: int64 (num_windows,), the sentence of each window.
    num_unknown_words: words that the tokenizer does not know, whole or a part of them: there its
      unknown token stands.
    owned: int64 (num_windows, 2), which sub-words each window owns, [begin, end) counted without
      its special tokens: each of a sentence is owned by one.
    """

    tokens: np.ndarray
    words: np.ndarray
    offsets: np.ndarray
    sentences: np.ndarray
    num_unknown_words: int
    owned: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def make_windows(
    sentences: Strings, *, tokenizer: tokenizers.Tokenizer, row_length: int
) -> Windows:
    """Sub-words of pre-split words, in windows of at most `row_length` tokens.

    Raises:
      UserError: no sentence, or a row too short to hold the special tokens and a few words.
    """
    if not len(sentences):
        raise UserError("a split of the data set is empty: expected one sentence or more")
    prefix, suffix = special_tokens(tokenizer)
    room = row_length - len(prefix) - len(suffix)
    if room < 8:
        raise UserError(
            f"text.row_length={row_length} leaves {room} tokens for words; expected 16 or more"
        )
    pieces = _encode_words(sentences.distinct, tokenizer=tokenizer)
    num_pieces = np.diff(pieces.offsets).astype(np.int32)[sentences.ids]
    lengths = np.add.reduceat(num_pieces, sentences.offsets[:-1], dtype=np.int64)
    cuts = _cut(lengths, room=room)
    sizes = cuts.ends - cuts.begins
    offsets = np.r_[0, np.cumsum(len(prefix) + sizes + len(suffix))].astype(np.int64)

    vocab_type = np.min_scalar_type(tokenizer.get_vocab_size(with_added_tokens=True))
    word_type = np.int32 if len(sentences.ids) < 2**31 else np.int64
    tokens, words = np.empty(offsets[-1], vocab_type), np.full(offsets[-1], -1, word_type)
    for i, token in enumerate(prefix):
        tokens[offsets[:-1] + i] = token
    for i, token in enumerate(suffix):
        tokens[offsets[1:] - len(suffix) + i] = token
    starts = np.cumsum(lengths) - lengths  # of the sub-words of each sentence
    edges = np.searchsorted(starts, np.arange(0, lengths.sum(), _BLOCK))
    for first, last in itertools.pairwise(np.unique(np.r_[edges, len(sentences)]).tolist()):
        found, labels = _sub_words(sentences, first, last, pieces=pieces)
        part = slice(*np.searchsorted(cuts.sentences, [first, last]))
        begins, size = cuts.begins[part], sizes[part]
        source = _ranges(starts[cuts.sentences[part]] - starts[first] + begins, size)
        target = _ranges(offsets[:-1][part] + len(prefix), size)
        tokens[target] = found[source]
        place = _ranges(begins, size)
        owned = place >= np.repeat(cuts.owned_from[part], size)
        owned &= place < np.repeat(cuts.owned_to[part], size)
        words[target] = np.where(owned, labels[source], -1)
    return Windows(
        tokens=tokens,
        words=words,
        offsets=offsets,
        sentences=cuts.sentences,
        num_unknown_words=int(pieces.is_unknown[sentences.ids].sum()),
        owned=np.stack([cuts.owned_from - cuts.begins, cuts.owned_to - cuts.begins], axis=1),
    )


def fill_rows(
    windows: Windows, examples: Sequence[np.ndarray], *, row_length: int
) -> dict[str, np.ndarray]:
    """The arrays of packed rows, one for each entry of `examples` (window numbers of the row).

    Returns:
      tokens, segments, positions: int32 (B, L), zeros where nothing is; segments count from 1.
      words: int32 or int64 (B, L), the word each token labels, or -1.
      starts: int32 (B,), how many sentences begin in the row.
    """
    num_windows = np.fromiter(map(len, examples), np.int64, len(examples))
    ids = np.concatenate([*examples, np.zeros(0, np.int64)]).astype(np.int64)
    lengths = windows.offsets[ids + 1] - windows.offsets[ids]
    row = np.repeat(np.arange(len(examples)), num_windows)
    first_of_row = np.cumsum(num_windows) - num_windows
    segment = np.arange(len(ids)) - np.repeat(first_of_row, num_windows) + 1
    before = np.cumsum(lengths) - lengths  # tokens before this window, over all rows
    row_start = np.repeat(np.r_[before, 0][first_of_row], num_windows)
    source = _ranges(windows.offsets[ids], lengths)
    target = _ranges(row * row_length + before - row_start, lengths)

    def scatter(values: np.ndarray, *, empty: int = 0, dtype: type = np.int32) -> np.ndarray:
        out = np.full(len(examples) * row_length, empty, dtype)
        out[target] = values
        return out.reshape(len(examples), row_length)

    begins = (ids == 0) | (windows.sentences[ids] != windows.sentences[ids - 1])
    return {
        "tokens": scatter(windows.tokens[source]),
        "segments": scatter(np.repeat(segment, lengths)),
        "positions": scatter(_ranges(np.zeros_like(ids), lengths)),
        "words": scatter(windows.words[source], empty=-1, dtype=windows.words.dtype),
        "starts": np.bincount(row, weights=begins, minlength=len(examples)).astype(np.int32),
    }


class _Cuts(NamedTuple):
    """Windows over sentences, each int64 (num_windows,): the sentence, and places in its sub-words,
    where the window begins and ends and from where to where it owns what it holds."""

    sentences: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    owned_from: np.ndarray
    owned_to: np.ndarray


def _cut(lengths: np.ndarray, *, room: int) -> _Cuts:
    """Windows of at most `room` over sentences of so many sub-words, int64 (num_sentences,).

    They overlap by half, the last one ends with the sentence, and each place belongs to the window
    in which the nearer edge that is not an edge of the sentence is farthest away: the boundary
    between two neighbours lies in the middle of their overlap.
    """
    stride = room - room // 2
    last_begin = np.maximum(lengths - room, 0)
    num = 1 - -last_begin // stride
    sentences = np.repeat(np.arange(len(lengths)), num)
    begins = np.minimum(stride * _ranges(np.zeros_like(num), num), last_begin[sentences])
    ends = begins + np.minimum(lengths, room)[sentences]
    borders = (begins[1:] + ends[:-1]) // 2
    is_first = np.diff(sentences, prepend=-1) > 0
    return _Cuts(
        sentences=sentences,
        begins=begins,
        ends=ends,
        owned_from=np.where(is_first, 0, np.r_[0, borders]),
        owned_to=np.where(np.r_[is_first[1:], True], ends, np.r_[borders, 0]),
    )


class _Pieces(NamedTuple):
    """The sub-words of distinct words: of word w `ids[offsets[w]:offsets[w + 1]]`. is_unknown: bool
    (num_distinct,), whether the unknown token is among them."""

    ids: np.ndarray
    offsets: np.ndarray
    is_unknown: np.ndarray


def _encode_words(words: Sequence[str], *, tokenizer: tokenizers.Tokenizer) -> _Pieces:
    """Each distinct word encoded alone: pre-split words do not see their neighbours."""
    unknown = unknown_token(tokenizer)
    ids, sizes = [], []
    for begin in range(0, len(words), _NUM_ENCODED):
        found = encode_words(words[begin : begin + _NUM_ENCODED], tokenizer=tokenizer)
        sizes.append(np.fromiter(map(len, found), np.int64))
        ids.append(np.fromiter((i for each in found for i in each or (unknown,)), np.int32))
    size = np.concatenate(sizes)
    offsets = np.r_[0, np.cumsum(np.maximum(size, 1))]
    is_unknown = np.logical_or.reduceat(np.concatenate(ids) == unknown, offsets[:-1])
    return _Pieces(np.concatenate(ids), offsets, is_unknown)


def _sub_words(
    sentences: Strings, first: int, last: int, *, pieces: _Pieces
) -> tuple[np.ndarray, np.ndarray]:
    """The sub-words of the sentences from `first` to before `last`, and for each the number of the
    word that it begins, or -1."""
    begin, end = sentences.offsets[[first, last]].tolist()
    ids = sentences.ids[begin:end]
    num_pieces = pieces.offsets[1:][ids] - pieces.offsets[:-1][ids]
    found = pieces.ids[_ranges(pieces.offsets[:-1][ids], num_pieces)]
    labels = np.full(len(found), -1, np.int64)
    labels[np.cumsum(num_pieces) - num_pieces] = np.arange(begin, end)
    return found, labels


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`sizes[i]` numbers from `starts[i]` on, for one i after the other."""
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(starts - before, sizes)
