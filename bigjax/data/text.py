"""Owns words to sub-words: tokenizers, windows over long sentences, and the arrays of a packed row.

Which examples share a row belongs to `packing.py`; what a label is belongs to the task.

Nothing is lost: a word the tokenizer turns into nothing becomes its unknown token, and a sentence
longer than a row becomes overlapping windows in which each word is owned, that is labelled and
predicted, by exactly one.
"""

import collections
import heapq
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tokenizers

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


def load_tokenizer(folder: str) -> tokenizers.Tokenizer:
    """The tokenizer of a Hugging Face folder, with the truncation and padding it may hold off.

    Raises:
      UserError: no readable `tokenizer.json` in the folder.
    """
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.isfile(path):
        raise UserError(
            f"{folder}: no tokenizer.json; expected a Hugging Face folder with a fast tokenizer "
            "(transformers' AutoTokenizer.from_pretrained(...).save_pretrained(folder) writes one)"
        )
    try:
        tokenizer = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{path}: not a tokenizer of the tokenizers library: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _set_prefix_space(tokenizer)
    return tokenizer


def train_wordpiece(sentences: Iterable[Sequence[str]], *, vocab_size: int) -> tokenizers.Tokenizer:
    """A cased WordPiece tokenizer of at most `vocab_size` entries, learnt from the words of the
    training split.

    The same words give the same tokenizer anywhere. The library's own trainer does not: it walks
    hash maps, in an order that differs from one process to the next.

    Raises:
      UserError: a vocabulary too small for the special tokens and a few letters.
    """
    if vocab_size < 32:
        raise UserError(f"text.vocab_size={vocab_size}: expected 32 or more")
    normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
    pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    words = collections.Counter(word for words in sentences for word in words)
    parts: collections.Counter[str] = collections.Counter()
    for word, count in words.items():
        for part, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(word)):
            parts[part] += count
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *_learn_pieces(parts, num_pieces=vocab_size - len(special))]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def make_windows(
    sentences: Sequence[Sequence[str]], *, tokenizer: tokenizers.Tokenizer, row_length: int
) -> Windows:
    """Sub-words of pre-split words, in windows of at most `row_length` tokens.

    Raises:
      UserError: no sentence, or a row too short to hold the special tokens and a few words.
    """
    if not len(sentences):
        raise UserError("a split of the data set is empty: expected one sentence or more")
    prefix, suffix = _special_tokens(tokenizer)
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
    encodings = tokenizer.encode_batch_fast(
        [[word] for word in number], is_pretokenized=True, add_special_tokens=False
    )
    unknown = _unknown_token(tokenizer)
    ids = [encoding.ids for encoding in encodings]
    empty = np.array([not found for found in ids], bool)
    offsets = np.r_[0, np.cumsum([len(found) or 1 for found in ids])].astype(np.int64)
    pieces = np.fromiter((i for found in ids for i in (found or (unknown,))), np.int64)
    return pieces, offsets, word_ids, int(empty[word_ids].sum())


def _learn_pieces(word_counts: Mapping[str, int], *, num_pieces: int) -> list[str]:
    """At most `num_pieces` WordPieces ("##" opens one inside a word) from how often each word
    occurs: its letters, then, again and again, the most frequent pair of neighbours as one piece.

    Pairs that are equally frequent come in alphabetical order. Sennrich et al. 2016, "Neural
    Machine Translation of Rare Words with Subword Units", algorithm 1.
    """
    words = [
        (word_counts[word], [word[0], *(f"##{letter}" for letter in word[1:])])
        for word in sorted(word_counts)
    ]
    letters: collections.Counter[str] = collections.Counter()
    pairs: collections.Counter[tuple[str, str]] = collections.Counter()
    words_with = collections.defaultdict(set)
    for number, (count, pieces) in enumerate(words):
        for piece in pieces:
            letters[piece] += count
        for pair in itertools.pairwise(pieces):
            pairs[pair] += count
            words_with[pair].add(number)
    most_frequent = sorted(letters, key=lambda piece: (-letters[piece], piece))[:num_pieces]
    learnt = dict.fromkeys(sorted(most_frequent))
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(queue)
    while queue and len(learnt) < num_pieces:
        negative, pair = heapq.heappop(queue)
        if -negative != pairs[pair]:
            continue  # its count has changed since: a later entry has the new one
        merged = pair[0] + pair[1].removeprefix("##")
        learnt[merged] = None
        changed = set()
        for number in words_with.pop(pair):
            count, pieces = words[number]
            for gone, new in _merge(pieces, pair=pair, merged=merged):
                pairs[gone] -= count
                pairs[new] += count
                words_with[new].add(number)
                changed |= {gone, new}
        del pairs[pair]
        for other in changed - {pair}:
            if pairs[other]:
                heapq.heappush(queue, (-pairs[other], other))
    return list(learnt)


def _merge(
    pieces: list[str], *, pair: tuple[str, str], merged: str
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Merges `pair` wherever it stands in `pieces`, in place; yields each pair of neighbours that
    is gone with the one in its place."""
    at = 0
    while at < len(pieces) - 1:
        if pieces[at] == pair[0] and pieces[at + 1] == pair[1]:
            pieces[at : at + 2] = [merged]
            if at > 0:
                yield (pieces[at - 1], pair[0]), (pieces[at - 1], merged)
            if at + 1 < len(pieces):
                yield (pair[1], pieces[at + 1]), (merged, pieces[at + 1])
        at += 1


def _special_tokens(tokenizer: tokenizers.Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """The ids before and after a sentence ([CLS] and [SEP] in BERT), as the tokenizer adds them."""
    encoding = tokenizer.encode(["a"], is_pretokenized=True)
    special = np.array(encoding.special_tokens_mask, bool)
    ids = np.array(encoding.ids, np.int64)
    inner = np.flatnonzero(~special)
    if not len(inner):
        raise UserError("the tokenizer turns the word 'a' into nothing: expected a BERT-family one")
    return ids[: inner[0]], ids[inner[-1] + 1 :]


def _unknown_token(tokenizer: tokenizers.Tokenizer) -> int:
    model = json.loads(tokenizer.to_str())["model"]
    vocab = tokenizer.get_vocab()
    name = model.get("unk_token")
    if name is None and isinstance(model.get("unk_id"), int):
        return model["unk_id"]
    for candidate in (name, "[UNK]", "<unk>"):
        if candidate in vocab:
            return vocab[candidate]
    raise UserError("the tokenizer has no unknown token; expected [UNK] or <unk> in its vocabulary")


def _set_prefix_space(tokenizer: tokenizers.Tokenizer) -> None:
    """Byte-level tokenizers (RoBERTa) tell a word's start by a space before it, which pre-split
    words have lost: ask for it, as transformers does for pre-split words."""
    pre_tokenizer = tokenizer.pre_tokenizer
    if isinstance(pre_tokenizer, tokenizers.pre_tokenizers.ByteLevel):
        pre_tokenizer.add_prefix_space = True
        tokenizer.pre_tokenizer = pre_tokenizer
