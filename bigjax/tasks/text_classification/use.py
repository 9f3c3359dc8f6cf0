"""Owns a trained classifier of texts in use: texts as rows of the model, its outputs as classes by
confidence, and how these are written."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.text import packing
from bigjax.data.text.class_files import readable, text_key
from bigjax.data.text.segmenting import Piece
from bigjax.data.text.sentences import with_classes
from bigjax.errors import UserError
from bigjax.scores import class_scores
from bigjax.tasks.task import JSONL, Encoded, Format, Observed, Outputs, csv_row
from bigjax.tasks.text_classification import rows
from bigjax.tasks.text_classification.rows import Split

_WORD_KEYS = ("tokens", "words")
_ANSWERED = ("class", "classes", "score", "next", "next_score")  # what the answer says itself
_SHOWN = 100  # characters of a text on a line of the terminal


class Prepared(NamedTuple):
    """text: as it was given, or its words with a blank between any two. start: the character of its
    document with which it begins; None where it is a whole one. more: what else stood in its
    record, which its answer keeps."""

    text: str
    start: int | None
    more: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.text)

    @property
    def words(self) -> list[str]:
        return readable(self.text).split()


def prepare(given: Any, *, column: str | None) -> Prepared:
    """A text, a list of words, or a record or row that holds one of them.

    Args:
      given: str; list of str; a dict with a text; or a segment of a document.
      column: what training's files called the text, None: one of the usual names.
    Raises:
      UserError: none of these.
    """
    more: Mapping[str, Any] = {}
    if isinstance(given, Mapping):
        key = text_key(list(given), column=column)
        key = key or next((name for name in _WORD_KEYS if name in given), None)
        if key is None:
            keys = ", ".join(map(repr, list(given)[:8])) or "nothing"
            raise UserError(f"expected {column or 'text'!r} in the record, found {keys}")
        more = {name: x for name, x in given.items() if name not in (key, "text", *_ANSWERED)}
        given = given[key]
    if isinstance(given, Piece):
        return Prepared(given.text, given.start, more)
    if isinstance(given, str):
        return Prepared(given, None, more)
    if isinstance(given, Sequence) and all(isinstance(word, str) for word in given):
        return Prepared(" ".join(given), None, more)
    raise UserError(
        f"expected a text or a list of words, found {type(given).__name__} {str(given)[:60]!r}"
    )


def encode(
    given: Sequence[Prepared],
    *,
    names: Sequence[str],
    answer: Callable[[np.ndarray, Sequence[str]], list[dict[str, Any]]],
    tokenizer: Any,
    row_length: int,
    batch_rows: int,
) -> Encoded:
    """Inputs as rows of the model, and back: for each {text, ...} with what `answer` makes of its
    logits: `single` or `several`."""
    split = _split(given, tokenizer=tokenizer, row_length=row_length)

    def decode(outputs: Outputs) -> list[dict[str, Any]]:
        found = answer(rows.by_text(split, outputs), names)
        return [_answer(one, said) for one, said in zip(given, found)]

    examples = packing.once(split.packing)
    return Encoded(rows.dataset(split, rows=examples, batch_rows=batch_rows), decode)


def _split(given: Sequence[Prepared], *, tokenizer: Any, row_length: int) -> Split:
    """All inputs, in rows that are as short as all of it lets them be: one short text does not pay
    for a long row."""
    texts = with_classes([(one.words, []) for one in given] or [([], [])], where="input")
    split = rows.encode_split(
        texts, names=(), multi=True, tokenizer=tokenizer, row_length=row_length
    )
    short = packing.short_row(int(split.windows.lengths.sum()))
    if short < row_length:
        split = split._replace(packing=packing.plan(split.windows.lengths, row_length=short))
    return split


def single(logits: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """{class, score, next, next_score} for each: the two most probable classes."""
    probabilities = class_scores.softmax(logits)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    keys = (("class", "score"), ("next", "next_score"))
    return [
        {
            key: value
            for (named, scored), i in zip(keys, best)
            for key, value in ((named, names[i]), (scored, round(float(of[i]), 4)))
        }
        for of, best in zip(probabilities, order.tolist())
    ]


def several(logits: np.ndarray, names: Sequence[str], *, threshold: float) -> list[dict[str, Any]]:
    """{classes, next, next_score} for each: those that reach the threshold, each {class, score},
    the most probable first, and the most probable of the others."""
    answers = []
    for of in class_scores.sigmoid(logits):
        order = np.argsort(-of, kind="stable").tolist()
        found = [i for i in order if of[i] >= threshold]
        said: dict[str, Any] = {
            "classes": [{"class": names[i], "score": round(float(of[i]), 4)} for i in found]
        }
        if len(found) < len(order):
            after = order[len(found)]
            said |= {"next": names[after], "next_score": round(float(of[after]), 4)}
        answers.append(said)
    return answers


def _answer(one: Prepared, said: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {**one.more, "text": one.text}
    if one.start is not None:
        answer |= {"start": one.start, "end": one.start + len(one.text)}
    return answer | said


def observe(
    given: Sequence[Prepared], answers: Sequence[Mapping[str, Any]], *, knows: Callable[[str], bool]
) -> Observed:
    """What was predicted, and how much. knows: word -> whether the tokenizer does."""
    found = [item for answer in answers for item in answer.get("classes", [answer])]
    words = [one.words for one in given]
    return Observed(
        labels=Counter(item["class"] for item in found),
        score_sum=sum(item["score"] for item in found),
        lengths=[len(each) for each in words],
        num_unknown=sum(not knows(word) for each in words for word in each),
    )


# --- how answers are written ---


def _said(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return answer.get("classes", [answer])


def _line(_: Prepared, answer: Mapping[str, Any]) -> str:
    told = ", ".join(f"{one['class']} {one['score']:.2f}" for one in _said(answer)) or "none"
    second = f" (else {answer['next']} {answer['next_score']:.2f})" if "next" in answer else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in answer["text"]).split())
    return f"{told}{second}  {text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''}\n"


def _row(_: Prepared, answer: Mapping[str, Any]) -> str:
    said = _said(answer)
    return csv_row(
        [
            answer["text"],
            "|".join(one["class"] for one in said),
            "|".join(str(one["score"]) for one in said),
            answer.get("next", ""),
            answer.get("next_score", ""),
        ]
    )


FORMATS = {
    "jsonl": JSONL,
    "csv": Format(_row, lambda *_: "text,class,score,next,next_score\n"),
    "terminal": Format(_line),
}
