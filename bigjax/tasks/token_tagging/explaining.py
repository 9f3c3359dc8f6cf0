"""Owns why a trained tagger said what it said of a text: its entities as questions, and what every
number of an embedding did as what each word did.

The answer of a question is the sum over its words of log P(tag), and of a CRF log P(all of its tags
given the tags beside them): as the loss of a window, see `models/crf.py`. It is compared with the
same sentence of unknown words. Integrating belongs to `inference/attribution.py`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.text import packing, windowing
from bigjax.data.text.sentences import Sentences, Strings
from bigjax.data.text.tags import has_spans
from bigjax.data.text.tokenization import encode_words, special_tokens, unknown_token
from bigjax.tasks.task import Question
from bigjax.tasks.token_tagging import rows, use
from bigjax.tasks.token_tagging.rows import Split
from bigjax.tasks.token_tagging.use import Prepared


def questions(
    one: Prepared,
    answer: Mapping[str, Any],
    variables: Mapping[str, Any],
    *,
    tags: Sequence[str],
    tokenizer: Any,
    row_length: int,
) -> Iterator[Question]:
    """One for each entity of the answer (or word, of tags that are no spans), in order."""
    what, key = ("type", "entities") if has_spans(tags) else ("tag", "words")
    named = use.word_tags(one, answer[key], what=what)
    begins = {start: i for i, (start, _) in enumerate(one.words)}
    ends = {end: i + 1 for i, (_, end) in enumerate(one.words)}
    shift, edges = one.start or 0, np.asarray(one.sentences)
    table = np.asarray(variables["params"]["encoder"]["word"]["embedding"], np.float32)
    for item in answer[key]:
        first, last = begins[item["start"] - shift], ends[item["end"] - shift]
        sentence = int(np.searchsorted(edges, first, side="right")) - 1
        begin, end = edges[sentence : sentence + 2].tolist()
        words = [use.readable(one.text[a:b]) for a, b in one.words[begin:end]]
        split = _split(words, named[begin:end], tags=tags, tokenizer=tokenizer, length=row_length)
        asked = range(first - begin, last - begin)
        yield _question(
            split,
            f"{item[what]} {item['score']:.2f}",
            asked,
            table=table,
            tokenizer=tokenizer,
            pieces=_pieces(one, begin, end),
        )


def _split(
    words: list[str], named: list[str], *, tags: Sequence[str], tokenizer: Any, length: int
) -> Split:
    """The sentence with what was said of it as its tags."""
    sentence = Strings.of([words])
    number = {tag: i for i, tag in enumerate(tags)}
    ids = np.array([number[tag] for tag in named], np.int32)
    said = Sentences(sentence, Strings(list(tags), ids, sentence.offsets), "input")
    return rows.encode_split(said, tags=tags, tokenizer=tokenizer, row_length=length)


def _question(
    split: Split,
    said: str,
    asked: range,
    *,
    table: np.ndarray,
    tokenizer: Any,
    pieces: list[tuple[str, int | None]],
) -> Question:
    """The windows that label the words asked about, a row each."""
    offsets = split.windows.offsets
    holds = [np.isin(split.windows.words[a:b], asked).any() for a, b in itertools.pairwise(offsets)]
    which = np.flatnonzero(holds)
    longest = int(split.windows.lengths[which].max())
    length = packing.short_row(longest)
    examples = [which[i : i + 1] for i in range(len(which))]
    batch = windowing.fill_rows(split.windows, examples, row_length=length)
    words_RL = batch.pop("words")
    batch |= rows.tags_in_context(split, words_RL)
    batch["mask"] &= np.isin(words_RL, asked)
    word_RL = _word_of_each(split, words_RL, batch["segments"] > 0, tokenizer=tokenizer)
    to_unknown = table[unknown_token(tokenizer)] - table[batch["tokens"]]
    baseline = np.where(word_RL[..., None] >= 0, to_unknown, 0.0).astype(np.float32)

    def show(parts: np.ndarray) -> dict[str, Any]:
        of_token = parts.sum(axis=-1)
        counted = word_RL >= 0
        of_word = np.bincount(word_RL[counted], weights=of_token[counted], minlength=len(pieces))
        values = [None if word is None else float(of_word[word]) for _, word in pieces]
        return {
            "pieces": [
                [text, value, word in asked]
                for (text, word), value in zip(pieces, values, strict=True)
            ]
        }

    return Question(said, batch, "embedding_delta", np.zeros_like(baseline), baseline, show)


def _word_of_each(
    split: Split, words_RL: np.ndarray, is_token_RL: np.ndarray, *, tokenizer: Any
) -> np.ndarray:
    """The word, by its number in the sentence, that each sub-word is of, int (R, L); -1 for what is
    of none. Each row is one window that labels a word."""
    prefix, suffix = special_tokens(tokenizer)
    found = encode_words(split.sentences.words[0], tokenizer=tokenizer)
    sizes = np.array([max(1, len(ids)) for ids in found])
    word_of = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes) - sizes
    of_each = np.full(words_RL.shape, -1)
    for row, words_L in enumerate(words_RL):
        place = int(np.argmax(words_L >= 0))  # of the first that is labelled, which tells the rest
        begin = int(starts[words_L[place]]) - (place - len(prefix))
        inner = slice(len(prefix), int(is_token_RL[row].sum()) - len(suffix))
        of_each[row, inner] = word_of[begin : begin + inner.stop - inner.start]
    return of_each


def _pieces(one: Prepared, begin: int, end: int) -> list[tuple[str, int | None]]:
    """The text of a sentence in pieces: its words with their numbers, and what is between them."""
    pieces: list[tuple[str, int | None]] = []
    at = one.words[begin][0]
    for number, (start, stop) in enumerate(one.words[begin:end]):
        if start > at:
            pieces.append((one.text[at:start], None))
        pieces.append((one.text[start:stop], number))
        at = stop
    return pieces
