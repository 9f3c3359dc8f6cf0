"""Owns files of JSON records as sentences: one record a line or a list of them, each words with
tags or a text with spans.

What a tool calls these belongs to `json_records.py` and `label_studio.py`, how a text becomes words
to `cutting.py`, tagging schemes to `schemes.py`.
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bigjax.data.text import cutting
from bigjax.data.text.annotated import Annotated, broken, split_lines
from bigjax.data.text.cutting import Misaligned, Span
from bigjax.data.text.sentences import PRE_SPLIT
from bigjax.errors import UserError

BLANK_WORDS, NO_WORDS = "blank words left out", "records without words left out"
TRIMMED, REPEATED = "spans with blank edges, trimmed", "spans that are there twice, taken once"
GROWN = "spans that start or end inside a word, grown to whole words"
DROPPED = "spans that start or end inside a word, dropped"


class Record(NamedTuple):
    """One record, in one of three forms: words with as many tags; a text with spans; or left out.

    shape: what it is, for the line that says what a file was recognised as; the reason where it is
      left out. notes: what was changed in it -> how often.
    """

    shape: str
    words: Sequence[str] | None = None
    tags: Sequence[str] = ()
    text: str | None = None
    spans: Sequence[Span] = ()
    notes: Counter[str] = Counter()


def items(text: str, *, path: str | os.PathLike) -> Iterator[tuple[int, Any]]:
    """The values of JSON lines, of a JSON list, or the one value of a file whose first line is a
    lone brace, with the number of the line each begins on.

    UserError: not JSON, a key that is twice in an object, half a character (a lone surrogate).
    """
    # ["text", {...}] on a line is a record of its own; a list of records holds objects or lists.
    read = _of_lines
    if re.match(r"\s*\[\s*[^\s\"]", text):
        read = _of_list
    elif re.match(r"\s*\{\s*\n", text):  # one object over many lines is a list without brackets
        text, read = f"[{text}]", _of_list
    for number, raw, value in read(text, path=path):
        if "\\u" in raw:
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError as error:
                half = error.object[error.start]
                raise UserError(
                    f"{path}:{number}: holds half a character, {half!a}; expected whole ones"
                ) from error
        yield number, value


def parse(
    found_items: Iterator[tuple[int, Any]],
    *,
    path: str | os.PathLike,
    read: Callable[..., Record],
    misaligned: Misaligned,
) -> Annotated:
    """Sentences from records.

    found_items: line and value of each. read: (value, place=) -> Record.
    misaligned: what becomes of a span that starts or ends inside a word: "error"; "expand", it
      grows to whole words; "drop".

    UserError: what `read` raises; no record at all; spans that cannot be read, of which all are
    counted and the first shown.
    """
    words, tags, lines, begin, spans_of = [], [], [], [], set()
    notes, shapes = defaultdict(list), Counter()
    problems: list[tuple[int, str]] = []
    for place, (number, value) in enumerate(found_items):
        record = read(value, place=f"{path}:{number}")
        for what, count in record.notes.items():
            notes[what] += [number] * count
        if record.text is not None:
            tagged = cutting.tag_words(record.text, record.spans, misaligned=misaligned)
            problems += [(number, problem) for problem in tagged.wrong]
            if misaligned == "error":
                problems += [(number, problem) for problem in tagged.misaligned]
            else:
                what = GROWN if misaligned == "expand" else DROPPED
                notes[what] += [number] * len(tagged.misaligned)
            notes[TRIMMED] += [number] * tagged.trimmed
            notes[REPEATED] += [number] * tagged.repeated
            spans_of.add(len(words))
            record = record._replace(words=tagged.words, tags=tagged.tags)
        if record.words is None:
            notes[record.shape].append(number)
        elif not record.words:
            notes[NO_WORDS].append(number)
        else:
            shapes[record.shape] += 1
            words.append(list(record.words))
            tags.append(list(record.tags))
            lines.append(number)
            begin.append(place)
    if problems:
        raise broken(path, problems, hint=_hint(misaligned))
    found = {
        "records": ", ".join(f"{number:,} {shape}" for shape, number in shapes.items()),
        **({"cut into words": f"by the rule {cutting.RULE}"} if spans_of else {}),
    }
    notes = {what: numbers for what, numbers in notes.items() if numbers}
    rule = cutting.RULE if spans_of else PRE_SPLIT
    line_of = lambda sentence, _: lines[sentence]  # noqa: E731
    iob2 = frozenset(spans_of)
    return Annotated(words, tags, lines, line_of, found, notes, rule, iob2, begin=begin)


def check_tags(tags: Sequence[Any], *, place: str) -> None:
    """UserError for a tag or type of span that is no text, or that would not fit on a line."""
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or re.search(r"[\t\r\n]", tag):
            raise UserError(f"{place}: tag {str(tag)[:60]!r}; expected a name on one line")


def fitted(span: Span, *, text: str, said: Any, place: str) -> tuple[Span, bool]:
    """A span whose offsets count characters of `text`, and whether they counted UTF-16 units.

    said: what the file says stands there, where it does; UserError where it stands elsewhere.
    """
    if not isinstance(said, str) or _same(text[max(0, span.start) : span.end], said):
        return span, False
    before, inside = (
        text.encode("utf-16-le")[2 * a : 2 * b] for a, b in ((0, span.start), span[:2])
    )
    start = len(before.decode("utf-16-le", "replace"))
    found = span._replace(start=start, end=start + len(inside.decode("utf-16-le", "replace")))
    if _same(text[found.start : found.end], said):
        return found, True
    there = text[max(0, span.start) : span.end]
    raise UserError(
        f"{place}: {span.kind} ({span.start}, {span.end}) is {there[:40]!r} in the text, but the "
        f"file says it is {said[:40]!r}; expected offsets in characters"
    )


def _same(one: str, other: str) -> bool:
    return one == other or one.split() == other.replace("\\n", "\n").split()


def _hint(misaligned: Misaligned) -> str:
    if misaligned != "error":
        return "correct the spans"
    return "correct the spans; data.misaligned='expand' or 'drop' is for those inside words"


# --- JSON ---


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} is there twice in an object")
    return found


_WHITE = re.compile(r"\s*")
_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _of_lines(text: str, *, path: str | os.PathLike) -> Iterator[tuple[int, str, Any]]:
    for number, line in enumerate(split_lines(text), 1):
        if not line or line.isspace():
            continue
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{path}:{number}: not JSON ({_reason(error)}); expected one object a line, or a "
                "list of them"
            ) from error
        yield number, line, value


def _of_list(text: str, *, path: str | os.PathLike) -> Iterator[tuple[int, str, Any]]:
    at, number, counted = text.index("[") + 1, 1, 0  # lines are counted up to `counted`
    while True:
        at = _WHITE.match(text, at).end()
        if text.startswith("]", at):
            break
        number, counted = number + text.count("\n", counted, at), at
        try:
            value, end = _DECODER.raw_decode(text, at)
            at = _WHITE.match(text, end).end()
            if not text.startswith((",", "]"), at):
                raise ValueError("a comma or the end of the list is missing")
        except (ValueError, RecursionError) as error:
            hint = "expected a list of objects"
            raise UserError(f"{path}:{number}: not JSON ({_reason(error)}); {hint}") from error
        yield number, text[counted:end], value
        at += text.startswith(",", at)
    if text[at + 1 :].strip():
        number += text.count("\n", counted, at)
        raise UserError(f"{path}:{number}: something follows the end of the list; expected nothing")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
