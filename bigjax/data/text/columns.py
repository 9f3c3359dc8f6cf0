"""Owns the format of column files: one word a line, its columns separated, its sentences by blank
lines; CoNLL-U among them.

Made for the user's own files, so whatever is malformed is an error that names file and line, and
what is left out is counted. Tagging schemes belong to `schemes.py`.
"""

import functools
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from bigjax.data.text.annotated import Annotated
from bigjax.data.text.column_layout import (
    CONLLU,
    Column,
    Layout,
    described,
    find_layout,
    is_docstart,
)
from bigjax.errors import UserError

_NUM_FOR_LAYOUT = 100_000  # lines
_ALONE = ("word",)  # the columns of a file without tags
_DOCUMENT = re.compile(r"#\s*newdoc\b|#begin document\b")  # of CoNLL-U, of OntoNotes
COMMENTS, HEADER, DOCSTARTS = "comment lines", "header line", "-DOCSTART- lines"
RANGES, EMPTY_NODES = "multi-word ranges left out", "empty nodes left out"


def parse(
    lines: Sequence[str],
    *,
    path: str | os.PathLike,
    token_column: Column = None,
    tag_column: Column = None,
    separator: str | None = None,
    kind: Literal["auto", "columns", "conllu"] = "auto",
) -> Annotated:
    """Sentences from the lines of a column file.

    token_column, tag_column: indexes from 0, negative from the end; or names, where the first line
    is a header or the file is CoNLL-U, whose MISC keys ("Entity") serve as well: a word without the
    key has the tag "O". None: FORM and UPOS in CoNLL-U, what a header calls so, else the first
    column that does not just count the words of a sentence, and the last. Where an index is
    negative or None, every line must have as many columns as the first: one lost or gained would
    shift it.
    separator: None decides by the first line of data: tabs if it has one, else runs of spaces. " "
    means runs of spaces; any other text is taken exactly. Words in tab-separated files may hold
    spaces.

    Lines with nothing but whitespace end a sentence, and so do -DOCSTART- lines. A line that begins
    with "#" where a sentence would begin is a comment, unless it has as many columns as the others
    and a tag that others have or that looks like one ("#<TAB>O" is a word). A first line that names
    the columns is a header. CoNLL-U is what has ten columns, or more in extensions of it, of which
    the first numbers the words: its multi-word ranges ("1-2") and empty nodes ("1.1") are no words.
    -DOCSTART- lines and the comments "# newdoc" and "#begin document" begin a document.

    UserError: no sentence, too few or too many columns, no such column, an empty word or tag, words
    of CoNLL-U that are not numbered 1, 2, ...
    """
    if token_column is not None and token_column == tag_column:
        raise UserError(f"token_column and tag_column are both {tag_column}; expected two columns")
    if separator == "":
        raise UserError("separator is ''; expected a character, or None to decide by the file")
    layout = find_layout(
        lines, path=path, token=token_column, tag=tag_column, separator=separator, kind=kind
    )
    return _read(lines, layout, path=path)


def sentences_of_words(
    lines: Iterable[str],
    *,
    path: str | os.PathLike,
    token_column: Column = None,
    separator: str | None = None,
) -> Iterator[tuple[int, list[str]]]:
    """The words of the sentences of a column file and the line on which each begins, whatever the
    other columns hold; there may be none. Read as `parse` reads it, line by line: what the columns
    are is seen by the beginning of the file.

    UserError: as `parse`.
    """
    lines = iter(lines)
    begin = list(itertools.islice(lines, _NUM_FOR_LAYOUT))
    if not any(line.strip() and not is_docstart(line) for line in begin):
        return
    layout = _one_column(begin, separator=separator) or find_layout(
        begin, path=path, token=token_column, tag=None, separator=separator, kind="auto"
    )
    notes: dict[str, list[int]] = defaultdict(list)
    found = _sentences(itertools.chain(begin, lines), layout, path=path, notes=notes)
    yield from ((number, words) for number, words, _ in found)


def _one_column(lines: Sequence[str], *, separator: str | None) -> Layout | None:
    """The layout of a file that holds a word a line and nothing else; None where there is more."""
    first = next(n for n, line in enumerate(lines, 1) if line.strip() and not is_docstart(line))
    line = lines[first - 1]
    if line.startswith("#") or (separator or ("\t" if "\t" in line else " ")) in line.strip():
        return None
    split = lambda line: line.split("\t")  # noqa: E731
    return Layout("\t", split, 1, _ALONE, 0, 0, None, False, lambda _: False, first, 0)


def _read(lines: Sequence[str], layout: Layout, *, path: str | os.PathLike) -> Annotated:
    split = layout.split
    words, tags, first_lines = [], [], []
    notes: dict[str, list[int]] = defaultdict(list)
    for number, found, labels in _sentences(lines, layout, path=path, notes=notes):
        first_lines.append(number)
        words.append(found)
        tags.append(labels)

    def line_of(sentence: int, index: int) -> int:
        if not layout.is_conllu:
            return first_lines[sentence] + index
        following = enumerate(lines[first_lines[sentence] - 1 :], first_lines[sentence])
        numbers = (n for n, line in following if line[:1] != "#" and split(line)[0].isdecimal())
        return next(n for i, n in enumerate(numbers) if i == index)

    marks = [n for n in notes.get(COMMENTS, ()) if _DOCUMENT.match(lines[n - 1])]
    documents = sorted([*notes.get(DOCSTARTS, ()), *marks])
    found = described(layout)
    return Annotated(words, tags, first_lines, line_of, found, notes, documents=documents)


def _sentences(
    lines: Iterable[str], layout: Layout, *, path: str | os.PathLike, notes: dict[str, list[int]]
) -> Iterator[tuple[int, list[str], list[str]]]:
    """The first line, words and tags of each sentence; what is left out goes into `notes`."""
    split, width, token, tag = layout.split, layout.width, layout.token, layout.tag
    value = _misc_value(layout.key) if layout.key else None
    words: list[str] = []
    tags: list[str] = []
    known: dict[str, str] = {}  # one object for all that are equal
    begin, expected_id = 0, 1
    for number, line in enumerate(lines, 1):
        if not line or line.isspace() or is_docstart(line):
            if line and not line.isspace():
                notes[DOCSTARTS].append(number)
            if words:
                yield begin, words, tags
                words, tags = [], []
            expected_id = 1
            continue
        if line[0] == "#" and (not words or layout.is_conllu) and layout.is_comment(line):
            notes[COMMENTS].append(number)
            continue
        if number == layout.header:
            notes[HEADER].append(number)
            continue
        fields = split(line)
        if len(fields) != width or (number == layout.first and layout.names != _ALONE):
            _check_width(fields, layout, line=line, place=f"{path}:{number}")
        if layout.is_conllu:
            no_word = _conllu_id(fields[0], expected=expected_id, place=f"{path}:{number}")
            if no_word:
                notes[no_word].append(number)
                continue
            expected_id += 1
        word, label = fields[token].strip(" "), fields[tag].strip()
        if value is not None:
            label = value(label)
        if not word or not label:
            empty = "tag" if word else "word"
            raise UserError(f"{path}:{number}: the {empty} is empty in {line[:60]!r}")
        if not words:
            begin = number
        words.append(known.setdefault(word, word))
        tags.append(known.setdefault(label, label))
    if words:
        yield begin, words, tags


def _check_width(fields: list[str], layout: Layout, *, line: str, place: str) -> None:
    """UserError where a line has not the columns that the first line of data lets expect."""
    token, tag, found = layout.token, layout.tag, len(fields)
    if layout.names == _ALONE:
        raise UserError(
            f"{place}: expected one word and nothing else, as on line {layout.first}, found "
            f"{found} columns in {line[:60]!r}"
        )
    least = max(2, *(index + 1 if index >= 0 else -index for index in (token, tag)))
    if layout.names == CONLLU:
        least = len(CONLLU)
    expected = None
    if found != layout.width and (min(token, tag) < 0 or layout.width == least == len(CONLLU)):
        expected = f"{layout.width} columns"
    elif found < least:
        expected = f"{least} columns or more"
    elif token % found == tag % found:
        expected = f"token_column={token} and tag_column={tag} to be different columns"
    if expected:
        as_before = "" if place.endswith(f":{layout.first}") else f" as on line {layout.first}"
        raise UserError(f"{place}: expected {expected}{as_before}, found {found} in {line[:60]!r}")


def _conllu_id(text: str, *, expected: int, place: str) -> str | None:
    """None for the number of a word, else what the line is instead."""
    if text == str(expected):
        return None
    if re.fullmatch(r"[0-9]+-[0-9]+", text):
        return RANGES
    if re.fullmatch(r"[0-9]+\.[0-9]+", text):
        return EMPTY_NODES
    raise UserError(
        f"{place}: expected the word with ID {expected}, found {text[:20]!r}: a line is missing, "
        "doubled or out of order, or there is no blank line between sentences"
    )


def _misc_value(key: str) -> Callable[[str], str]:
    """A field "A=x|B=y" to the value of `key`, or "O"."""

    @functools.lru_cache(maxsize=1 << 16)
    def value(field: str) -> str:
        pairs = (item.partition("=") for item in field.split("|"))
        return next((found for name, _, found in pairs if name == key), "O")

    return value
