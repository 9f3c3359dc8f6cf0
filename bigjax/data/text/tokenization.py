"""Owns tokenizers: that of a folder made fit for words, learning WordPieces, encoding words, and
special tokens.

Files of tokenizers belong to `tokenizer_files.py`, windows and rows of sub-words to `windowing.py`.
"""

import collections
import functools
import heapq
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers

from bigjax.data.text import tokenizer_files
from bigjax.errors import UserError


def load_tokenizer(folder: str) -> tokenizers.Tokenizer:
    """The tokenizer of a Hugging Face folder, with the truncation and padding it may hold off.

    Raises:
      UserError: no tokenizer in the folder, or none that can be read.
    """
    tokenizer = tokenizer_files.read(folder)
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


@functools.lru_cache(maxsize=4)
def special_tokens(tokenizer: tokenizers.Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """The ids before and after a sentence ([CLS] and [SEP] in BERT), as the tokenizer adds them."""
    encoding = tokenizer.encode(["a"], is_pretokenized=True)
    special = np.array(encoding.special_tokens_mask, bool)
    ids = np.array(encoding.ids, np.int64)
    inner = np.flatnonzero(~special)
    if not len(inner):
        raise UserError("the tokenizer turns the word 'a' into nothing: expected a BERT-family one")
    return ids[: inner[0]], ids[inner[-1] + 1 :]


def mask_token(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The id of the token that hides another; None where there is none."""
    ids = (tokenizer.token_to_id(token) for token in ("[MASK]", "<mask>"))
    return next((i for i in ids if i is not None), None)


@functools.lru_cache(maxsize=4)  # writing a tokenizer out takes longer than a short text
def unknown_token(tokenizer: tokenizers.Tokenizer) -> int:
    model = json.loads(tokenizer.to_str())["model"]
    vocab = tokenizer.get_vocab()
    name = model.get("unk_token")
    if name is None and isinstance(model.get("unk_id"), int):
        return model["unk_id"]
    for candidate in (name, "[UNK]", "<unk>"):
        if candidate in vocab:
            return vocab[candidate]
    raise UserError("the tokenizer has no unknown token; expected [UNK] or <unk> in its vocabulary")


def knows(tokenizer: tokenizers.Tokenizer) -> Callable[[str], bool]:
    """word -> whether the tokenizer knows all of it; what was asked often is kept."""
    unknown = unknown_token(tokenizer)

    @functools.lru_cache(maxsize=2**16)
    def known(word: str) -> bool:
        ids = encode_words([word], tokenizer=tokenizer)[0]
        return bool(ids) and unknown not in ids

    return known


def special_ids(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """The ids of all special tokens, the unknown one among them, in order."""
    return sorted(_special_ids(tokenizer)[0] | {unknown_token(tokenizer)})


def encode_words(words: Sequence[str], *, tokenizer: tokenizers.Tokenizer) -> list[list[int]]:
    """The ids of each word alone; none for a word that the tokenizer drops.

    A word that reads like a special token ("[SEP]", "</s>") is text like any other: it never gets
    that token's id, which would mean the end of its sentence.
    """
    found = _encode(words, tokenizer=tokenizer)
    wrong_ids, unknown = _special_ids(tokenizer)
    wrong = [
        n for n, ids in enumerate(found) if not wrong_ids.isdisjoint(ids) or unknown in words[n]
    ]
    if wrong:
        without = without_special(tokenizer)
        for n, ids in zip(wrong, _encode([words[n] for n in wrong], tokenizer=without)):
            found[n] = ids
    return found


@functools.lru_cache(maxsize=4)
def _special_ids(tokenizer: tokenizers.Tokenizer) -> tuple[frozenset[int], str]:
    """The ids that no word may get, and how the unknown token, whose id it may, is spelt."""
    added = tokenizer.get_added_tokens_decoder()
    special = {i for i, token in added.items() if token.special}
    unknown = unknown_token(tokenizer)
    ids = special.union(*(part.tolist() for part in special_tokens(tokenizer)))
    return frozenset(ids - {unknown}), tokenizer.id_to_token(unknown)


def _encode(words: Sequence[str], *, tokenizer: tokenizers.Tokenizer) -> list[list[int]]:
    encodings = tokenizer.encode_batch_fast(
        [[word] for word in words], is_pretokenized=True, add_special_tokens=False
    )
    return [encoding.ids for encoding in encodings]


@functools.lru_cache(maxsize=4)
def without_special(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A tokenizer of the same ids, in which those tokens have names that stand in no text. That
    added tokens are not looked for (`encode_special_tokens`) is not enough: a model of
    SentencePiece has them among its pieces too."""
    state = json.loads(tokenizer.to_str())
    special = special_ids(tokenizer)
    new = {tokenizer.id_to_token(i): f"\0special {i}\0" for i in special}
    model = state["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {new.get(piece, piece): i for piece, i in model["vocab"].items()}
    else:
        model["vocab"] = [[new.get(piece, piece), score] for piece, score in model["vocab"]]
    if "merges" in model:  # some are "left right", some [left, right]
        pairs = [m.split(" ", 1) if isinstance(m, str) else m for m in model["merges"]]
        model["merges"] = [m for m in pairs if new.keys().isdisjoint([*m, "".join(m)])]
    if model.get("unk_token") in new:
        model["unk_token"] = new[model["unk_token"]]
    for token in state["added_tokens"]:
        token["content"] = new.get(token["content"], token["content"])
    state["post_processor"] = None  # it names them, and adds nothing to a word
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def _set_prefix_space(tokenizer: tokenizers.Tokenizer) -> None:
    """Byte-level tokenizers (RoBERTa) tell a word's start by a space before it, which pre-split
    words have lost: ask for it, as transformers does for pre-split words."""
    pre_tokenizer = tokenizer.pre_tokenizer
    if isinstance(pre_tokenizer, tokenizers.pre_tokenizers.ByteLevel):
        pre_tokenizer.add_prefix_space = True
        tokenizer.pre_tokenizer = pre_tokenizer
        return
    # As one of several in a sequence it would put a space before each part that those before it
    # cut: the word gets it before all of them, unless it has it already.
    state = json.loads(tokenizer.to_str())
    steps = _steps(state["pre_tokenizer"], "pretokenizers")
    if any(step["type"] == "ByteLevel" and not step["add_prefix_space"] for step in steps):
        space, before = tokenizers.normalizers.Prepend(" "), tokenizer.normalizer
        if json.loads(space.__getstate__()) not in _steps(state["normalizer"], "normalizers"):
            tokenizer.normalizer = tokenizers.normalizers.Sequence([*filter(None, [before]), space])


def _steps(step: Mapping[str, Any] | None, parts: str) -> list[Mapping[str, Any]]:
    """The steps, in order, of one that may be a sequence of others, or of sequences of them."""
    if step is None or step["type"] != "Sequence":
        return [step] if step else []
    return [found for part in step[parts] for found in _steps(part, parts)]
