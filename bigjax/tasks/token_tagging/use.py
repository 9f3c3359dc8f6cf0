"""Owns a trained tagger in use: texts and lists of words as rows of the model, and the tags of rows
as entities with places in the text, and how these are written.

How text becomes words belongs to `data/text/cutting.py`, which tags are chosen to `decoding.py`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.text import packing, segmenting
from bigjax.data.text.cutting import cut
from bigjax.data.text.segmenting import Piece
from bigjax.data.text.sentences import PRE_SPLIT, Sentences, Strings
from bigjax.data.text.tags import has_spans, span_tags
from bigjax.errors import UserError
from bigjax.scores import class_scores
from bigjax.tasks.task import JSONL, Encoded, Format, Observed, Outputs, csv_row
from bigjax.tasks.token_tagging import decoding, rows
from bigjax.tasks.token_tagging.rows import Split
from bigjax.tasks.token_tagging.settings import Decoding

TEXT_KEYS, WORD_KEYS = ("text", "data", "content", "sentence"), ("tokens", "words")
# What the answer says itself, or what annotators said.
_ANSWERED = (
    "entities", "tags", "scores", "spans", "label", "labels", "ner_tags", "pos_tags", "annotations",
    "predictions",
)  # fmt: skip
_COLOURS = (44, 42, 45, 41, 46, 43)  # of the terminal's background, dark text on them is legible


class Prepared(NamedTuple):
    """An input cut into words.

    text: what the offsets of words count in.
    start: the character of its document with which the text begins; None where it is a whole one.
    tokens: the words as they were given; None where it was a text.
    words: [start, end) of each word in `text`, blank ones left out.
    sentences: int (S + 1,), the words of sentence s are `words[sentences[s]:sentences[s + 1]]`;
      no sentence is empty.
    more: what else stood in the record of the input, which its answer keeps.
    """

    text: str
    start: int | None
    tokens: list[str] | None
    words: list[tuple[int, int]]
    sentences: list[int]
    more: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.text)


def prepare(given: Any, *, rule: str) -> Prepared:
    """A text, a list of words, or a record that holds one of them, in words.

    Args:
      given: str; list of str; a dict with "text" or "tokens"; or a sentence of a document.
      rule: how training's text was cut into words. Of a run that learnt from whole texts a text is
        one sentence, as it was then; of one that learnt from words it is parted into sentences.
    Raises:
      UserError: none of these.
    """
    more: Mapping[str, Any] = {}
    if isinstance(given, list) and len(given) == 2 and isinstance(given[1], Mapping):
        given = {"text": given[0], **given[1]}  # as spaCy has it
    if isinstance(given, Mapping):
        if isinstance(given.get("data"), Mapping):  # as Label Studio has it
            given = {**given, **given["data"], "data": None}
        called = {str(key).lower(): key for key, value in given.items() if value is not None}
        names = (*WORD_KEYS, *TEXT_KEYS)
        key = next((called[name] for name in names if name in called), None)
        if key is None:
            keys = ", ".join(map(repr, list(given)[:8])) or "nothing"
            raise UserError(f"expected 'text' or 'tokens' in the record, found {keys}")
        dropped = {key, *_ANSWERED, *WORD_KEYS, *TEXT_KEYS}
        more = {name: value for name, value in given.items() if name not in dropped}
        given = given[key]
    if isinstance(given, Piece):
        return _of_text(given.text, start=given.start, whole=True, more=more)
    if isinstance(given, str):
        return _of_text(given, start=None, whole=rule != PRE_SPLIT, more=more)
    if isinstance(given, Sequence) and all(isinstance(word, str) for word in given):
        return _of_words(list(given), more=more)
    raise UserError(
        f"expected a text or a list of words, found {type(given).__name__} {str(given)[:60]!r}"
    )


def _of_text(text: str, *, start: int | None, whole: bool, more: Mapping[str, Any]) -> Prepared:
    pieces = [Piece(0, text)] if whole else segmenting.segment([text])
    words: list[tuple[int, int]] = []
    sentences = [0]
    for begin, piece in pieces:
        found = cut(piece)
        words += [(begin + a, begin + b) for a, b in found] if begin else found
        if found:
            sentences.append(len(words))
    return Prepared(text, start, None, words, sentences, more)


def _of_words(tokens: list[str], *, more: Mapping[str, Any]) -> Prepared:
    """Its text is the words with a blank between any two."""
    words, at = [], 0
    for token in tokens:
        inner = token.strip()
        if inner:
            begin = at + token.index(inner)
            words.append((begin, begin + len(inner)))
        at += len(token) + 1
    sentences = [0, len(words)] if words else [0]
    return Prepared(" ".join(tokens), None, tokens, words, sentences, more)


def encode(
    given: Sequence[Prepared],
    *,
    tags: Sequence[str],
    tokenizer: Any,
    row_length: int,
    batch_rows: int,
    how: Decoding,
) -> Encoded:
    """Inputs as rows of the model, and back: an answer for each has its `text` (and `tokens` with
    their `tags`, where these were given) and its `entities`: {type, start, end, text, score}, with
    start and end in characters of the text, or of the document that it is a sentence of. Tags that
    are no spans come as `words`: {tag, start, end, text, score}."""
    split = _split(given, tags=tags, tokenizer=tokenizer, row_length=row_length)

    def decode(outputs: Outputs) -> list[dict[str, Any]]:
        found = _found(split, outputs, tags=tags, how=how)
        return [_answer(one, found, tags=tags) for one in given]

    examples = packing.once(split.packing)
    return Encoded(rows.dataset(split, rows=examples, batch_rows=batch_rows), decode)


def _split(
    given: Sequence[Prepared], *, tags: Sequence[str], tokenizer: Any, row_length: int
) -> Split:
    """All sentences of all inputs, in rows that are as short as all of it lets them be: one short
    text does not pay for a long row."""
    sentences = [
        [readable(one.text[a:b]) for a, b in one.words[first:last]]
        for one in given
        for first, last in zip(one.sentences, one.sentences[1:])
    ] or [["."]]
    words = Strings.of(sentences)
    untagged = Strings(tags[:1], np.zeros(len(words.ids), np.int8), words.offsets)
    split = rows.encode_split(
        Sentences(words, untagged, "input"), tags=tags, tokenizer=tokenizer, row_length=row_length
    )
    short = packing.short_row(int(split.windows.lengths.sum()))
    if short < row_length:
        split = split._replace(packing=packing.plan(split.windows.lengths, row_length=short))
    return split


def readable(word: str) -> str:
    """Half a character, which no tokenizer takes, as the sign for what is unreadable."""
    return word.encode("utf-8", "surrogatepass").decode("utf-8", "replace")[: len(word)]


def _found(
    split: Split, outputs: Outputs, *, tags: Sequence[str], how: Decoding
) -> Iterator[list[tuple[int, int, str, float]]]:
    """What was found in one sentence after the other, as (first word, one past the last, type or
    tag, score)."""
    logits = rows.by_word(split, outputs)
    offsets = split.sentences.words.offsets
    transitions = decoding.transitions_of(outputs)
    predicted = decoding.decode(logits, offsets, transitions=transitions, tags=tags, kind=how.kind)
    if has_spans(tags):
        found = decoding.entity_scores(
            logits, offsets, predicted, transitions=transitions, tags=tags, how=how.score
        )
        return ([e for e in each if e[3] >= how.min_score] for each in found)
    scores = class_scores.softmax(logits)[np.arange(len(predicted)), predicted].tolist()
    names = [tags[i] for i in predicted.tolist()]
    each = zip(rows.by_sentence(split, names), rows.by_sentence(split, scores))
    return (
        [(i, i + 1, name, score) for i, (name, score) in enumerate(zip(*sentence))]
        for sentence in each
    )


def _answer(
    one: Prepared, found: Iterator[list[tuple[int, int, str, float]]], *, tags: Sequence[str]
) -> dict[str, Any]:
    shift = one.start or 0
    what = "type" if has_spans(tags) else "tag"
    entities = []
    for first in one.sentences[:-1]:
        for begin, end, kind, score in next(found):
            start, stop = one.words[first + begin][0], one.words[first + end - 1][1]
            entities.append(
                {
                    what: kind,
                    "start": shift + start,
                    "end": shift + stop,
                    "text": one.text[start:stop],
                    "score": round(score, 4),
                }
            )
    answer: dict[str, Any] = {**one.more, "text": one.text}
    if one.start is not None:
        answer |= {"start": one.start, "end": one.start + len(one.text)}
    if one.tokens is not None:
        answer |= {"tokens": one.tokens, "tags": _token_tags(one, entities, what=what)}
    return answer | {"entities" if what == "type" else "words": entities}


def _token_tags(one: Prepared, found: Sequence[Mapping[str, Any]], *, what: str) -> list[str]:
    """A tag for each token that was given, "O" for a blank one."""
    tags = iter(word_tags(one, found, what=what))
    return [next(tags) if token.strip() else "O" for token in one.tokens or ()]


def word_tags(one: Prepared, found: Sequence[Mapping[str, Any]], *, what: str) -> list[str]:
    """A tag for each word of an input, from what was found in it."""
    tags = ["O"] * len(one.words)
    at = {start: i for i, (start, _) in enumerate(one.words)}
    ends = {end: i for i, (_, end) in enumerate(one.words)}
    shift = one.start or 0
    for item in found:
        first, last = at[item["start"] - shift], ends[item["end"] - shift]
        kind = item[what]
        tags[first : last + 1] = (
            [kind] if what == "tag" else span_tags(kind, length=last - first + 1)
        )
    return tags


def observe(
    given: Sequence[Prepared], answers: Sequence[Mapping[str, Any]], *, knows: Callable[[str], bool]
) -> Observed:
    """What was found, and how much of it. knows: word -> whether the tokenizer does."""
    found = [
        item for answer in answers for item in answer.get("entities") or answer.get("words", ())
    ]
    words = (readable(one.text[start:end]) for one in given for start, end in one.words)
    return Observed(
        labels=Counter(item.get("type") or item["tag"] for item in found),
        score_sum=sum(item["score"] for item in found),
        lengths=[len(one.words) for one in given],
        num_unknown=sum(not knows(word) for word in words),
    )


def average(several: Sequence[Outputs]) -> Outputs:
    """Logits whose probabilities are the mean of those of several models.

    Raises:
      UserError: one of them has learnt transitions, whose sequences have no such mean.
    """
    if any("transitions" in outputs for outputs in several):
        raise UserError("a model with model.head='crf' cannot be one of several; name it alone")
    return {"logits": class_scores.mean_logits([outputs["logits"] for outputs in several])}


# --- how answers are written ---


def formats(tags: Sequence[str]) -> dict[str, Format]:
    """JSON lines; columns, a word and its tag a line; CSV, a row for each that was found; and
    text with what was found marked, for a terminal."""
    what, key = ("type", "entities") if has_spans(tags) else ("tag", "words")

    def conll(one: Prepared, answer: Mapping[str, Any]) -> str:
        found = word_tags(one, answer[key], what=what)
        lines = []
        for first, last in zip(one.sentences, one.sentences[1:]):
            for (start, end), tag in zip(one.words[first:last], found[first:last]):
                lines.append(f"{one.text[start:end]}\t{tag}\n")
            lines.append("\n")
        return "".join(lines)

    def rows_of_csv(one: Prepared, answer: Mapping[str, Any]) -> str:
        columns = (what, "start", "end", "text", "score")
        return "".join(
            csv_row([*(item[name] for name in columns), one.text]) for item in answer[key]
        )

    return {
        "jsonl": JSONL,
        "conll": Format(conll),
        "csv": Format(rows_of_csv, lambda *_: f"{what},start,end,text,score,context\n"),
        "terminal": Format(_marked(tags, what=what, key=key)),
    }


def _marked(
    tags: Sequence[str], *, what: str, key: str
) -> Callable[[Prepared, Mapping[str, Any]], str]:
    """The text with each entity on a coloured ground, its type and score behind it; in brackets
    where NO_COLOR asks for no colours (no-color.org)."""
    kinds = sorted({tag[2:] or "_" for tag in tags if tag != "O"}) if what == "type" else tags
    colour = {kind: _COLOURS[i % len(_COLOURS)] for i, kind in enumerate(kinds)}
    plain = bool(os.environ.get("NO_COLOR"))

    def line(one: Prepared, answer: Mapping[str, Any]) -> str:
        parts, at, shift = [], 0, one.start or 0
        for item in answer[key]:
            start, end, kind = item["start"] - shift, item["end"] - shift, item[what]
            parts.append(_shown(one.text[at:start]))
            text = _shown(one.text[start:end])
            score = f" {item['score']:.2f}" if what == "type" else ""
            if plain:
                parts.append(f"[{text} {kind}{score}]")
            else:
                parts.append(f"\033[30;{colour[kind]}m {text} \033[0;2m{kind}{score}\033[0m")
            at = end
        return "".join(parts) + _shown(one.text[at:]) + "\n"

    return line


def _shown(text: str) -> str:
    """Without what a terminal would obey: control characters other than blanks."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" * (c != "\r") for c in text)
