"""Owns words to sub-words: tokenizers, windows over long sentences, and the arrays of a packed row.

Which examples share a row belongs to `packing.py`; what a label is belongs to the task.

Nothing is lost: a word the tokenizer turns into nothing becomes its unknown token, and a sentence
longer than a row becomes overlapping windows in which each word is owned, that is labelled and
predicted, by exactly one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tokenizers

from bigjax.data.text.tokenization import encode_words, special_tokens, unknown_token
from bigjax.errors import UserError


class Windows(NamedTuple):
    """Token sequences ready to be packed; most sentences are one window.

    tokens: ids of all windows, one after the other, special tokens included.
    words: for each token the number of the word that it labels, counted over the split, or -1: the
      first sub-word of a word in the window that owns the word.
    offsets: int64 (num_windows + 1,), window w is `tokens[offsets[w]:offsets[w + 1]]`.
    sentences: int64 (num_windows,), the sentence of each window.
    num_unknown_words: words that the tokenizer knows nothing of and that became its unknown token.
    """

    tokens: np.ndarray
    words: np.ndarray
    offsets: np.ndarray
    sentences: np.ndarray
    num_unknown_words: int

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def make_windows(
    sentences: Sequence[Sequence[str]], *, tokenizer: tokenizers.Tokenizer, row_length: int
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
    pieces, pieces_offsets, word_ids, num_unknown = _encode_words(sentences, tokenizer=tokenizer)

    # Ragged gather: the pieces of every word of the split, in order.
    num_pieces = np.diff(pieces_offsets)[word_ids]
    first_piece = np.cumsum(num_pieces) - num_pieces
    source = np.arange(num_pieces.sum()) - np.repeat(first_piece, num_pieces)
    all_pieces = pieces[source + np.repeat(pieces_offsets[:-1][word_ids], num_pieces)]
    all_words = np.full(len(all_pieces), -1, np.int64)
    all_words[first_piece] = np.arange(len(word_ids))

    words_a_sentence = np.fromiter(map(len, sentences), np.int64, len(sentences))
    last_word = np.cumsum(words_a_sentence)
    ends = np.r_[first_piece, len(all_pieces)][last_word]
    starts = np.r_[0, ends[:-1]]
    tokens, words, lengths, owners = [], [], [], []
    for sentence, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
        for begin, stop, owned in _split(end - start, room=room):
            span = slice(start + begin, start + stop)
            label = all_words[span]
            if owned is not None:  # one of several windows: a word labels in its owner only
                at = np.arange(begin, stop)
                label = np.where((at >= owned[0]) & (at < owned[1]), label, -1)
            tokens += [prefix, all_pieces[span], suffix]
            words += [np.full(len(prefix), -1), label, np.full(len(suffix), -1)]
            lengths.append(len(prefix) + stop - begin + len(suffix))
            owners.append(sentence)
    vocab_type = np.min_scalar_type(tokenizer.get_vocab_size(with_added_tokens=True))
    word_type = np.int32 if len(word_ids) < 2**31 else np.int64
    return Windows(
        tokens=np.concatenate(tokens).astype(vocab_type),
        words=np.concatenate(words).astype(word_type),
        offsets=np.r_[0, np.cumsum(lengths)].astype(np.int64),
        sentences=np.array(owners, np.int64),
        num_unknown_words=num_unknown,
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

    position = np.arange(lengths.sum()) - np.repeat(before, lengths)
    source = np.repeat(windows.offsets[ids], lengths) + position
    target = np.repeat(row * row_length + before - row_start, lengths) + position

    def scatter(values: np.ndarray, *, empty: int = 0, dtype: type = np.int32) -> np.ndarray:
        out = np.full(len(examples) * row_length, empty, dtype)
        out[target] = values
        return out.reshape(len(examples), row_length)

    begins = np.r_[True, windows.sentences[1:] != windows.sentences[:-1]][ids]
    return {
        "tokens": scatter(windows.tokens[source]),
        "segments": scatter(np.repeat(segment, lengths)),
        "positions": scatter(position),
        "words": scatter(windows.words[source], empty=-1, dtype=windows.words.dtype),
        "starts": np.bincount(row, weights=begins, minlength=len(examples)).astype(np.int32),
    }


def _split(length: int, *, room: int) -> list[tuple[int, int, tuple[int, int] | None]]:
    """Windows over a sentence of `length` sub-words: (begin, end, the positions it owns).

    They overlap by half, the last one ends with the sentence, and each position belongs to the
    window in which the nearer edge that is not an edge of the sentence is farthest away: the
    boundary between two neighbours lies in the middle of their overlap.
    """
    if length <= room:
        return [(0, length, None)]
    begins = [*range(0, length - room, room - room // 2), length - room]
    borders = [0, *((b + a + room) // 2 for a, b in zip(begins, begins[1:])), length]
    return [(b, b + room, (borders[i], borders[i + 1])) for i, b in enumerate(begins)]


def _encode_words(
    sentences: Sequence[Sequence[str]], *, tokenizer: tokenizers.Tokenizer
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Each distinct word encoded once, alone: pre-split words do not see their neighbours.

    Returns:
      pieces of the distinct words, their offsets (num_distinct + 1,), for each word of the split
      the number of its distinct word, and how many words of the split became unknown.
    """
    number: dict[str, int] = {}
    word_ids = np.fromiter(
        (number.setdefault(word, len(number)) for words in sentences for word in words), np.int64
    )
    ids = encode_words(list(number), tokenizer=tokenizer)
    unknown = unknown_token(tokenizer)
    empty = np.array([not found for found in ids], bool)
    offsets = np.r_[0, np.cumsum([len(found) or 1 for found in ids])].astype(np.int64)
    pieces = np.fromiter((i for found in ids for i in (found or (unknown,))), np.int64)
    return pieces, offsets, word_ids, int(empty[word_ids].sum())
