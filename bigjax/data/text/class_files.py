"""Owns texts with their classes as they lie in files: CSV and TSV with named columns, JSON lines or
a JSON list, and a folder with a sub-folder for each class.

Which files are which split belongs to `class_sources.py`. A text is what stands between blanks and
line ends in it: its words are parted by them, and which blanks they were is not kept.
"""

import contextlib
import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.tables.csv_rows import CsvRows
from bigjax.data.text import file_columns, records
from bigjax.data.text.sentences import Origin, Sentences, with_classes
from bigjax.errors import UserError, first_of, nearest

TEXT_KEYS = ("text", "sentence", "content", "review", "document", "utterance", "query", "message",
             "body", "title", "data")  # fmt: skip
LABEL_KEYS = ("label", "labels", "class", "classes", "category", "categories", "intent",
              "sentiment", "topic", "target")  # fmt: skip
_YES, _NO = ("1", "true", "yes", "1.0"), ("0", "false", "no", "0.0", "")
_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".tsv", ".tab", ".txt")


class Reading(NamedTuple):
    """How files are read. text_column, label_column: names, None: the first that is of TEXT_KEYS
    and of LABEL_KEYS; several label columns say of a class each whether a text is of it.
    separator: what parts several classes in a cell; None: it is one. names: what labels that are
    numbers mean. delimiter, header, encoding: as of `CsvRows`."""

    text_column: str | None = None
    label_column: str | tuple[str, ...] | None = None
    separator: str | None = None
    names: tuple[str, ...] | None = None
    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"


class _Text(NamedTuple):
    text: str
    classes: list[str]
    path: str
    line: int
    begin: int  # as of `Origin`


def read(path: str, reading: Reading) -> Sentences:
    """The texts of a file, or of a folder with a sub-folder for each class.

    Raises:
      UserError: it cannot be read, or a record of it, with its line; columns that are not there.
    """
    columns = {}
    if os.path.isdir(path):
        what, texts = "a folder for each class", list(_of_folder(path, reading))
    elif path.lower().endswith(_JSON):
        what, texts = "JSON records", list(_of_json(path, reading))
        again = functools.partial(_content, path, reading.encoding)
        columns = {path: file_columns.of_json(path, text=again)}
    elif path.lower().endswith(_TABLES):
        what, texts = "a table", list(_of_table(path, reading))
        columns = {path: file_columns.of_table(path, rows=functools.partial(_rows, path, reading))}
    else:
        ends = ", ".join((*_TABLES, *_JSON))
        raise UserError(f"{path}: expected a folder, or a file whose name ends in {ends}")
    if not texts:
        raise UserError(f"{path}: holds no text; expected one or more")
    paths = tuple(dict.fromkeys(one.path for one in texts))
    number = {path: i for i, path in enumerate(paths)}
    kinds = Counter(name for one in texts for name in one.classes)
    origin = Origin(
        paths=paths,
        file=np.array([number[one.path] for one in texts], np.int32),
        line=np.array([one.line for one in texts], np.int64),
        begin=np.array([one.begin for one in texts], np.int64),
        found=(f"{path}: {what}, {len(texts):,} texts of {len(kinds):,} classes",),
        columns=columns,
    )
    return with_classes(
        ((one.text.split(), one.classes) for one in texts), where=path, origin=origin
    )


def text_key(keys: Sequence[str], *, column: str | None) -> str | None:
    """The key of a record or a row under which its text is; None where there is none."""
    return column if column in keys else _of_names(keys, TEXT_KEYS)


def readable(text: str) -> str:
    """Half a character, which no tokenizer takes, as the sign for what is unreadable."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _of_names(keys: Sequence[str], names: Sequence[str]) -> str | None:
    called = {str(key).strip().lower(): key for key in reversed(keys)}
    return next((called[name] for name in names if name in called), None)


def _columns(
    keys: Sequence[str], reading: Reading, *, place: str
) -> tuple[str, str | tuple[str, ...]]:
    text = reading.text_column or _of_names(keys, TEXT_KEYS)
    label = reading.label_column or _of_names([key for key in keys if key != text], LABEL_KEYS)
    if isinstance(label, str) and label not in keys and "," in label:  # as the command line has it
        label = tuple(label.split(","))
    for what, found in {"text": text, "label": label}.items():
        if found is None:
            raise UserError(
                f"{place}: no column is called as a {what} is; say which with "
                f"--config.data.{what}_column=NAME; there are {first_of(keys)}"
            )
        for name in [found] if isinstance(found, str) else found:
            if name not in keys:
                raise UserError(f"{place}: has no {name!r}; {nearest(name, keys)}")
    return text, label


# --- tables ---


def _rows(path: str, reading: Reading) -> Iterator[tuple[int, Sequence[str]]]:
    """Line and cells, first the names."""
    rows = CsvRows(
        path, delimiter=reading.delimiter, header=reading.header, encoding=reading.encoding
    )
    try:
        yield 1, rows.names
        yield from rows
    finally:
        rows.close()


def _of_table(path: str, reading: Reading) -> Iterator[_Text]:
    with contextlib.closing(_rows(path, reading)) as rows:
        _, names = next(rows)
        text, label = _columns(names, reading, place=path)
        for line, cells in rows:
            row = dict(zip(names, cells))
            place = f"{path}:{line}"
            classes = (
                _parted(row[label], reading, place=place)
                if isinstance(label, str)
                else _marked({name: row[name] for name in label}, place=place)
            )
            yield _Text(row[text], classes, path, line, begin=line)


def _parted(cell: str, reading: Reading, *, place: str) -> list[str]:
    parts = [cell] if reading.separator is None else cell.split(reading.separator)
    return [_name(part, reading, place=place) for part in parts if part.strip()]


def _marked(cells: Mapping[str, Any], *, place: str) -> list[str]:
    """The names of the columns that say yes."""
    for name, cell in cells.items():
        if str(cell).strip().lower() not in (*_YES, *_NO):
            raise UserError(
                f"{place}: {name!r} is {str(cell)[:40]!r}; expected 0 or 1, as several columns are "
                "classes"
            )
    return [name for name, cell in cells.items() if str(cell).strip().lower() in _YES]


# --- JSON ---


def _of_json(path: str, reading: Reading) -> Iterator[_Text]:
    items = records.items(_content(path, reading.encoding), path=path)
    for number, (line, value) in enumerate(items):
        place = f"{path}:{line}"
        if not isinstance(value, dict):
            raise UserError(f"{place}: expected an object with a text and its label")
        text, label = _columns(list(value), reading, place=place)
        if not isinstance(value[text], str):
            raise UserError(f"{place}: {text!r} is no text; expected one")
        classes = _of_value(value, label, reading, place=place)
        yield _Text(value[text], classes, path, line, begin=number)


def _of_value(
    record: Mapping[str, Any], label: str | tuple[str, ...], reading: Reading, *, place: str
) -> list[str]:
    if not isinstance(label, str):
        return _marked({name: record[name] for name in label}, place=place)
    found = record[label]
    if isinstance(found, str):
        return _parted(found, reading, place=place)
    values = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(one, str | int) for one in values):
        raise UserError(
            f"{place}: {label!r} is {str(found)[:40]!r}; expected a name, a number, or a list of "
            "them"
        )
    return [_name(str(one), reading, place=place) for one in values]


def _name(label: str, reading: Reading, *, place: str) -> str:
    label = " ".join(label.split())
    if reading.names is None:
        return label
    if label in reading.names:
        return label
    if label.isdecimal() and int(label) < len(reading.names):
        return reading.names[int(label)]
    raise UserError(
        f"{place}: class {label[:40]!r} is neither one of data.label_names nor a number from 0 to "
        f"{len(reading.names) - 1}"
    )


# --- folders ---


def _of_folder(path: str, reading: Reading) -> Iterator[_Text]:
    classes = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    if not classes:
        raise UserError(f"{path}: has no sub-folder; expected one for each class, with its texts")
    for name in classes:
        inside = os.path.join(path, name)
        files = sorted(entry.name for entry in os.scandir(inside) if entry.is_file())
        for file in files:
            if not file.startswith("."):
                place = os.path.join(inside, file)
                text = _content(place, reading.encoding)
                yield _Text(text, [_name(name, reading, place=place)], place, line=1, begin=1)


def _content(path: str, encoding: str) -> str:
    try:
        with open(path, encoding=encoding, newline="") as file:
            return file.read().removeprefix("\ufeff")
    except LookupError as error:
        raise UserError(f"data.encoding={encoding!r}: there is no such encoding") from error
    except UnicodeError as error:
        raise UserError(
            f"{path}: is not {encoding} ({error}); convert it, or say its encoding with "
            "--config.data.encoding"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
