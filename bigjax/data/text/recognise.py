"""Owns which format a file of annotated text has, and reading it as `Sentences`.

Each format has its own module; where the files of a run are belongs to `text_sources.py`.
"""

import functools
import itertools
import os
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from bigjax.data.text import (
    columns,
    csv_words,
    file_columns,
    json_records,
    label_studio,
    records,
)
from bigjax.data.text.annotated import Annotated, Repair, read_text, split_lines, to_sentences
from bigjax.data.text.column_layout import Column
from bigjax.data.text.cutting import Misaligned
from bigjax.data.text.label_studio import Annotations
from bigjax.data.text.sentences import Sentences

# An object with a key, or a list of objects or of ["text", ...]; brackets alone may be words.
_JSON = re.compile(
    r"""\s*(?: \{ \s* (?: "[^"\n]*" \s* : | \} \s*$ )
          | \[ \s* (?: \{ | \[? \s* "[^"\n]*" \s* , | \] \s*$ ) )""",
    re.MULTILINE | re.VERBOSE,
)

Format = Literal["auto", "columns", "conllu", "csv", "jsonl", "label_studio"]


class Reading(NamedTuple):
    """How to read a file; each field is described where it is used.

    format: "auto" goes by content: records of JSON, a CSV header, else columns (with CoNLL-U).
    """

    format: Format = "auto"
    encoding: str = "utf-8"
    token_column: Column = None
    tag_column: Column = None
    separator: str | None = None
    scheme: str = "auto"
    tag_names: Sequence[str] | None = None
    repair: Repair = "none"
    misaligned: Misaligned = "error"
    annotations: Annotations = "one"


def read(path: str | os.PathLike, reading: Reading = Reading()) -> Sentences:  # noqa: B008
    """The sentences of one file.

    UserError: as the modules of the formats and `annotated.py` say; the message begins with the
    path, and the line where there is one.
    """
    text = read_text(path, encoding=reading.encoding)
    kind = format_of(text) if reading.format == "auto" else reading.format
    found = to_sentences(
        _parse(text, kind, path=path, reading=reading),
        path=path,
        scheme=reading.scheme,
        repair=reading.repair,
        tag_names=reading.tag_names,
    )
    return found._replace(origin=found.origin._replace(columns=_columns(kind, path, reading)))


def format_of(text: str) -> Format:
    """The format of a file's text, by how it begins."""
    if _JSON.match(text):
        return "jsonl"
    return "csv" if csv_words.delimiter_of(text) else "columns"


def _columns(
    kind: Format, path: str | os.PathLike, reading: Reading
) -> dict[str, file_columns.Column]:
    again = functools.partial(read_text, path, encoding=reading.encoding)
    if kind in ("jsonl", "label_studio"):
        return {str(path): file_columns.of_json(path, text=again)}
    if kind != "csv":
        return {}

    rows = lambda: csv_words.rows_of(again(), path=path, separator=reading.separator)  # noqa: E731
    return {str(path): file_columns.of_table(path, rows=rows)}


def _parse(text: str, kind: Format, *, path: str | os.PathLike, reading: Reading) -> Annotated:
    which = {"token_column": reading.token_column, "tag_column": reading.tag_column}
    if kind == "csv":
        return csv_words.parse(text, path=path, separator=reading.separator, **which)
    if kind not in ("jsonl", "label_studio"):
        kind = kind if kind == "conllu" or reading.format == "columns" else "auto"
        lines = split_lines(text)
        return columns.parse(lines, path=path, separator=reading.separator, kind=kind, **which)
    found = records.items(text, path=path)
    first = list(itertools.islice(found, 1))
    if kind == "label_studio" or (first and label_studio.is_task(first[0][1])):
        kind = "label_studio"
        read_one = functools.partial(
            label_studio.record,
            annotations=reading.annotations,
            token_column=reading.token_column,
        )
    else:
        read_one = functools.partial(json_records.record, tag_names=reading.tag_names, **which)
    parsed = records.parse(
        itertools.chain(first, found), path=path, read=read_one, misaligned=reading.misaligned
    )
    name = "Label Studio" if kind == "label_studio" else "JSON records"
    return parsed._replace(found={"format": name, **parsed.found})
