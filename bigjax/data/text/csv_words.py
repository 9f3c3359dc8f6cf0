"""Owns the format of tables with a word a row under a header: CSV, as spreadsheets write it.

Tagging schemes belong to `schemes.py`; columns without quotes to `columns.py`.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bigjax.data.text.annotated import Annotated
from bigjax.data.text.column_layout import TAG_NAMES, WORD_NAMES, Column
from bigjax.errors import UserError, nearest

SENTENCE_NAMES = (
    "sentence #", "sentence", "sentence_id", "sentence id", "sentence_idx", "sentence_no",
    "sentence number", "sent", "sent_id", "sent_idx", "sent #",
)  # fmt: skip
_DELIMITERS = ",;\t|"
EMPTY_ROWS = "empty rows"


class _Header(NamedTuple):
    """names: of all columns. token, tag: indexes. sentence: the column that numbers the sentences,
    or None: rows without any value part them."""

    names: Sequence[str]
    token: int
    tag: int
    sentence: int | None


def delimiter_of(text: str) -> str | None:
    """What parts the columns of a text whose first line names one of words and one of tags; None
    where no character makes it such a header. Without a column of sentences, tabs are left to
    `columns.py`."""
    line = text[: text.find("\n") + 1 or None].strip()
    for delimiter in _DELIMITERS:
        names = _lower(line.split(delimiter))
        has = [any(name in names for name in kind) for kind in (WORD_NAMES, TAG_NAMES)]
        if all(has) and (delimiter != "\t" or _sentence_column(names) is not None):
            return delimiter
    return None


def parse(
    text: str,
    *,
    path: str | os.PathLike,
    token_column: Column = None,
    tag_column: Column = None,
    separator: str | None = None,
) -> Annotated:
    """Sentences from a table with a word a row.

    token_column, tag_column: names in the first line, or indexes; None: the first that is called
    "word" or the like, and the last that is called "tag" or the like.
    separator: one character; None: the comma, semicolon, tab or bar that makes the first line a
    header.

    A new sentence begins where the column of sentences ("Sentence #", "sentence_id") has another
    value; an empty cell there means "as above". Without such a column, rows without any value part
    the sentences. Quotes are as in RFC 4180 (in a tab-separated table they are nothing special): a
    quoted cell may hold the separator and doubled quotes. A line end in a cell is an error, because
    it comes from a quote that was not closed.

    UserError: no header, a row with more or fewer cells than it, an empty word or tag, quotes that
    do not close.
    """
    separator = _separator(text, separator)
    rows = _rows(text, path=path, separator=separator)
    number, cells = next(rows, (1, []))
    header = _header(cells, place=f"{path}:{number}", token=token_column, tag=tag_column)
    words, tags, lines, empty = [], [], [], []
    known: dict[str, str] = {}
    inside, current = False, ""
    for number, cells in rows:
        if not any(cell.strip() for cell in cells):
            inside = inside and header.sentence is not None
            empty += [number] * bool(cells)
            continue
        word, tag, sentence = _cells(cells, header, place=f"{path}:{number}")
        if sentence not in ("", current):
            inside, current = False, sentence
        if not inside:
            words.append([])
            tags.append([])
            lines.append([])
            inside = True
        words[-1].append(known.setdefault(word, word))
        tags[-1].append(known.setdefault(tag, tag))
        lines[-1].append(number)
    if not words:
        raise UserError(f"{path}: no sentence below its header; expected one word a row")
    return Annotated(
        words=words,
        tags=tags,
        lines=[numbers[0] for numbers in lines],
        line_of=lambda sentence, index: lines[sentence][index],
        found=_described(header, separator),
        notes={EMPTY_ROWS: empty} if empty else {},
    )


def rows_of(
    text: str, *, path: str | os.PathLike, separator: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Rows as `parse` reads them, first the header, each with the line on which it begins."""
    return _rows(text, path=path, separator=_separator(text, separator))


def _separator(text: str, given: str | None) -> str:
    separator = given or delimiter_of(text) or ","
    if len(separator) != 1 or separator in '\r\n"':
        raise UserError(f"data.separator={separator!r}: expected one character for a CSV file")
    return separator


def _rows(text: str, *, path: str | os.PathLike, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows, each with the number of the line on which it begins."""
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    file = io.StringIO(text, newline="")
    reader = csv.reader(file, delimiter=separator, strict=True, quoting=quoting)
    number = 1
    try:
        for cells in reader:
            yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        hint = "expected cells as in RFC 4180, quotes in quotes doubled"
        raise UserError(f"{path}:{number}: not a row of CSV ({error}); {hint}") from error


def _header(cells: Sequence[str], *, place: str, token: Column, tag: Column) -> _Header:
    names = _lower(cells)

    def index(column: Column, *, setting: str, usual: Sequence[str], which: int) -> int:
        fitting = [at for at, name in enumerate(names) if name in usual]
        if column is None and fitting:
            return fitting[which]
        if column is None:
            problem = f"the header has no {', '.join(map(repr, usual[:4]))} or the like"
        elif str(column).lower() in names:
            return names.index(str(column).lower())
        elif not str(column).lstrip("-").isdecimal():
            problem = f"no column is called {column!r}; {nearest(str(column).lower(), names)}"
        elif -len(names) <= int(column) < len(names):
            return int(column) % len(names)
        else:
            problem = f"no column {column}: there are {len(names)}"
        raise UserError(f"{place}: {problem}; name it with data.{setting}")

    at = index(token, setting="token_column", usual=WORD_NAMES, which=0)
    tag_at = index(tag, setting="tag_column", usual=TAG_NAMES, which=-1)
    if at == tag_at:
        raise UserError(f"{place}: words and tags are both in {names[at]!r}; expected two columns")
    return _Header(names, at, tag_at, _sentence_column(names))


def _cells(cells: Sequence[str], header: _Header, *, place: str) -> tuple[str, str, str]:
    """Word, tag and sentence of a row ("" where there is no such column)."""
    if len(cells) != len(header.names):
        expected = f"{len(header.names)} cells as in the header"
        raise UserError(f"{place}: expected {expected}, found {len(cells)} in {str(cells)[:60]}")
    if any("\n" in cell or "\r" in cell for cell in cells):
        raise UserError(f"{place}: a cell holds a line end; expected one line a word: close quotes")
    word, tag = cells[header.token].strip(), cells[header.tag].strip()
    if not word or not tag:
        raise UserError(f"{place}: the {'tag' if word else 'word'} is empty in {str(cells)[:60]}")
    return word, tag, "" if header.sentence is None else cells[header.sentence].strip()


def _lower(cells: Sequence[str]) -> list[str]:
    return [cell.strip().strip('"').lower() for cell in cells]


def _sentence_column(names: Sequence[str]) -> int | None:
    return next((names.index(name) for name in SENTENCE_NAMES if name in names), None)


def _described(header: _Header, separator: str) -> dict[str, str]:
    names, at = header.names, header.sentence
    parted = "by empty rows" if at is None else f"by {names[at]!r}"
    columns = f"words in {names[header.token]!r}, tags in {names[header.tag]!r}, sentences {parted}"
    name = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
    return {
        "format": "CSV",
        "separator": name.get(separator, repr(separator)),
        "columns": f"{len(names)}, {columns}",
    }
