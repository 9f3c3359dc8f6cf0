"""Owns what annotated files say of a sentence beside its words and labels: a column of a table, or
a key of a JSON record, by where the sentence begins."""

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from bigjax.data.text import json_records, records
from bigjax.errors import UserError, nearest

# (name, where sentences begin, as `Origin.begin` has it) -> what stands there
Column = Callable[[str, Collection[int]], Mapping[int, str]]


def of_json(path: str | os.PathLike, *, text: Callable[[], str]) -> Column:
    """Of a file of JSON records, which are numbered from 0: several may be on a line. A dot in a
    name goes into an object: `meta.source`."""

    def read(name: str, asked: Collection[int]) -> dict[int, str]:
        found = {}
        for number, (line, value) in enumerate(records.items(text(), path=path)):
            if number in asked:
                found[number] = _told(json_records.as_object(value), name, place=f"{path}:{line}")
        return found

    return read


def of_table(
    path: str | os.PathLike, *, rows: Callable[[], Iterator[tuple[int, Sequence[str]]]]
) -> Column:
    """Of a table, whose rows begin on lines of their own.

    rows: () -> line and cells, first of the header. A generator, which is closed.
    """

    def read(name: str, asked: Collection[int]) -> dict[int, str]:
        with contextlib.closing(rows()) as opened:
            names = [cell.strip() for cell in next(opened, (1, []))[1]]
            if name not in names:
                raise UserError(f"{path}: has no {name!r}; {nearest(name, names)}")
            if names.count(name) > 1:
                raise UserError(f"{path}: has {name!r} twice; expected each name once")
            place = names.index(name)
            return {line: cells[place].strip() for line, cells in opened if line in asked}

    return read


_ABSENT = object()


def _told(record: Any, name: str, *, place: str) -> str:
    is_object = isinstance(record, Mapping)
    whole = [name] if is_object and name in record else name.split(".")
    value = functools.reduce(_inside, whole, record)
    if value is _ABSENT:
        raise UserError(f"{place}: has no {name!r}; {nearest(name, _names(record))}")
    if isinstance(value, Mapping | list):
        inside = [f"{name}.{key}" for key in value] if isinstance(value, Mapping) else []
        hint = f", such as {inside[0]!r}" if inside else ""
        raise UserError(
            f"{place}: {name!r} is {str(value)[:40]!r}; expected the key of a text or number{hint}"
        )
    return "" if value is None else str(value)


def _inside(value: Any, key: str) -> Any:
    return value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT


def _names(record: Any) -> Iterator[str]:
    """Those of the keys of a record, and of what is inside of them, that `_told` tells of."""
    for key, value in record.items() if isinstance(record, Mapping) else ():
        if isinstance(value, Mapping):
            yield from (f"{key}.{name}" for name in value)
        elif not isinstance(value, list):
            yield key
