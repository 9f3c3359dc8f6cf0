"""Owns what annotated files say of a sentence beside its words and labels: a column of a table, or
a key of a JSON record, by the line on which the sentence begins."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from bigjax.data.tables.csv_rows import CsvRows
from bigjax.data.text import records
from bigjax.errors import UserError, nearest

Column = Callable[[str], Mapping[int, str]]


def of_json(path: str | os.PathLike, *, text: Callable[[], str]) -> Column:
    """Of a file of JSON records; a dot in a name goes into an object: `meta.source`."""

    def read(name: str) -> dict[int, str]:
        found = {}
        for line, record in records.items(text(), path=path):
            value = functools.reduce(_inside, [name] if name in record else name.split("."), record)
            if value is _ABSENT:
                raise UserError(f"{path}:{line}: has no {name!r}; {nearest(name, list(record))}")
            found[line] = "" if value is None else str(value)
        return found

    return read


def of_table(rows: Callable[[], CsvRows]) -> Column:
    """Of a table with a header."""

    def read(name: str) -> dict[int, str]:
        opened = rows()
        try:
            if name not in opened.names:
                raise UserError(f"{opened.place}: has no {name!r}; {nearest(name, opened.names)}")
            place = opened.names.index(name)
            return {line: cells[place].strip() for line, cells in opened}
        finally:
            opened.close()

    return read


_ABSENT = object()


def _inside(value: Any, key: str) -> Any:
    return value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
