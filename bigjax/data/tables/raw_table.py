"""Owns the columns of a file as arrays, before anything is decided about them.

What parts cells belongs to `csv_rows.py`, what a column is to `kinds.py`.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.tables.cells import Cells
from bigjax.data.tables.csv_rows import CsvRows, check_names
from bigjax.errors import UserError

CHUNK_ROWS = 5_000  # read at once: cells as Python's texts take ten times their memory as numbers


class Column(NamedTuple):
    """Either numbers, or texts.

    numbers: float64 (N,), nan where missing; None where some cell is no number.
    codes: int32 (N,), numbers of texts, -1 where missing; None where all are numbers.
    texts: the distinct ones.
    """

    numbers: np.ndarray | None = None
    codes: np.ndarray | None = None
    texts: Sequence[str] = ()

    @property
    def is_missing(self) -> np.ndarray:
        return np.isnan(self.numbers) if self.codes is None else self.codes < 0

    def as_texts(self, form: Cells) -> "Column":
        """Numbers as texts, written in this form."""
        if self.codes is not None:
            return self
        found, codes = np.unique(self.numbers, return_inverse=True, equal_nan=True)
        codes = codes.reshape(-1).astype(np.int32)
        codes[self.is_missing] = -1
        return Column(codes=codes, texts=[form.written(x) for x in found[~np.isnan(found)]])


class RawTable(NamedTuple):
    """place: the file. lines: int32 (N,), on which each row begins. found: how it was read."""

    place: str
    columns: dict[str, Column]
    lines: np.ndarray
    found: str

    def where(self, row: int) -> str:
        return f"{self.place}:{self.lines[row]}"


def read(
    path: str | os.PathLike[str],
    *,
    cells: Callable[[Sequence[str], str], Cells],
    delimiter: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
) -> tuple[RawTable, Cells]:
    """A file of CSV or TSV, or where its name ends in .parquet of that.

    Args:
      cells: (cells of the first rows, delimiter) -> how they are written.
    Raises:
      UserError: what cannot be read, with file:line.
    """
    if os.fspath(path).endswith((".parquet", ".pq")):
        form = cells((), "")
        return _read_parquet(path, form), form
    rows = CsvRows(path, delimiter=delimiter, header=header, encoding=encoding)
    try:
        chunks = iter(lambda: list(itertools.islice(rows, CHUNK_ROWS)), [])
        first = next(chunks, None)
        if first is None:
            raise UserError(f"{rows.place}: has a header and no row below it")
        if len(rows.names) < 2:
            raise UserError(
                f"{rows.place}:1: one column alone, {rows.names[0][:60]!r}; expected two or more, "
                "parted by commas, semicolons, tabs or bars: give data.delimiter"
            )
        value = next((name for name in rows.names if _is_fraction(name)), None)
        if header and value is not None:
            raise UserError(
                f"{rows.place}:1: {value!r} is no name of a column; expected a header: add one, or "
                "say that there is none with data.header=false"
            )
        sample = [cell for _, row in first[:1000] for cell in row]
        form = cells(sample, rows.dialect.delimiter)
        builders = [_Builder(form) for _ in rows.names]
        lines = []
        for chunk in itertools.chain([first], chunks):
            lines.append(np.array([line for line, _ in chunk], np.int32))
            for builder, values in zip(builders, zip(*(row for _, row in chunk))):
                builder.add(values)
    finally:
        rows.close()
    columns = {name: builder.done() for name, builder in zip(rows.names, builders)}
    decimal = "" if form.is_plain else f", decimals after {form.decimal!r}"
    found = f"columns parted by {rows.dialect}{decimal}"
    return RawTable(rows.place, columns, np.concatenate(lines), found), form


def of_arrays(place: str, columns: Mapping[str, Any]) -> RawTable:
    """Of arrays (N,) of numbers or texts, rows counted from 1."""
    made = {}
    for name, values in columns.items():
        values = np.asarray(values)
        if values.dtype.kind in "OUS":
            texts, codes = np.unique(values.astype(str), return_inverse=True)
            made[name] = Column(codes=codes.astype(np.int32), texts=texts.tolist())
        else:
            made[name] = Column(numbers=values.astype(np.float64))
    num_rows = len(next(iter(columns.values())))
    return RawTable(place, made, np.arange(1, num_rows + 1, dtype=np.int32), "arrays")


class _Builder:
    """A column that grows by chunks, each as numbers where it holds nothing else."""

    def __init__(self, cells: Cells):
        self._cells, self._missing = cells, frozenset({"", *cells.missing})
        self._parts: list[np.ndarray] = []
        self._known: dict[str, int] = {}

    def add(self, cells: Sequence[str]) -> None:
        numbers = self._numbers(cells)
        self._parts.append(self._codes(map(str.strip, cells)) if numbers is None else numbers)

    def done(self) -> Column:
        if all(part.dtype == np.float64 for part in self._parts):
            return Column(numbers=self._joined())
        self._parts = [
            part if part.dtype == np.int32 else self._codes(map(self._text_of, part))
            for part in self._parts
        ]
        return Column(codes=self._joined(), texts=list(self._known))

    def _text_of(self, value: float) -> str:
        return "" if np.isnan(value) else self._cells.written(value)

    def _joined(self) -> np.ndarray:
        parts, self._parts = self._parts, []
        return np.concatenate(parts)

    def _codes(self, cells: Iterable[str]) -> np.ndarray:
        known, missing = self._known, self._missing
        found = [-1 if c in missing else known.setdefault(c, len(known)) for c in cells]
        return np.array(found, np.int32)

    def _numbers(self, cells: Sequence[str]) -> np.ndarray | None:
        """float64, nan where missing; None where one is no number."""
        whole = "".join(cells)
        if self._cells.is_plain and whole.isascii() and "_" not in whole:
            try:
                found = np.fromiter(map(float, cells), np.float64, len(cells))
                return None if np.isinf(found).any() else found
            except ValueError:
                pass
        values = []
        for cell in map(str.strip, cells):
            value = np.nan if cell in self._missing else self._cells.number(cell)
            if value is None:
                return None
            values.append(value)
        return np.array(values, np.float64)


def _is_fraction(name: str) -> bool:
    """Whether it is a number that counts nothing, as pixels may be called by."""
    value = Cells().number(name)
    return value is not None and value != round(value)


def _read_parquet(path: str | os.PathLike[str], form: Cells) -> RawTable:
    place = os.fspath(path)
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise UserError(
            f"{place}: reading Parquet needs pyarrow: pip install 'bigjax[parquet]'"
        ) from error
    try:
        table = parquet.read_table(place)
    except (OSError, arrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{place}: cannot be read ({reason}); expected a Parquet file") from error
    if not table.num_rows:
        raise UserError(f"{place}: has no row")
    check_names(table.column_names, place=place)
    columns = {}
    for name in table.column_names:
        column = table[name]
        kind, table = column.type, table.drop_columns([name])
        if arrow.types.is_boolean(kind):
            column = column.cast(arrow.int8())
        if arrow.types.is_boolean(kind) or arrow.types.is_integer(kind) or _is_real(kind):
            # Not safe: integers from 2^53 on are rounded.
            numbers = column.cast(arrow.float64(), safe=False).to_numpy()
            columns[name] = Column(numbers=np.where(np.isinf(numbers), np.nan, numbers))
            continue
        builder = _Builder(form)
        builder.add(["" if x is None else x for x in column.cast(arrow.string()).to_pylist()])
        columns[name] = builder.done()
    num_rows = len(columns[name].is_missing)
    return RawTable(place, columns, np.arange(1, num_rows + 1, dtype=np.int32), "Parquet")


def _is_real(kind: Any) -> bool:
    import pyarrow as arrow

    return arrow.types.is_floating(kind) or arrow.types.is_decimal(kind)
