"""Owns CSV and TSV files as rows with their line numbers: what parts the cells, quotes, the header.

What cells mean belongs to `cells.py`. A file is read as a stream, once.
"""

import csv
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple, Self

from bigjax.errors import UserError, first_of

DELIMITERS = ",;\t|"
SAMPLE = 1 << 16  # characters that the delimiter is guessed from
MAX_CELL = 1 << 20  # characters; a longer cell comes from a quote that was not closed
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class Dialect(NamedTuple):
    """What parts cells."""

    delimiter: str

    def __str__(self) -> str:
        return _NAMES.get(self.delimiter, repr(self.delimiter))


class CsvRows:
    """The rows of a file below its header, each as (line on which it begins, cells in the order of
    `names`); empty lines are left out.

    `next` raises UserError, with file:line, for a row that has more or fewer cells than the header
    or is not UTF-8, and may be called again for the rows after it; quotes that do not fit end it.

    names: of the columns. dialect: as found or given. place: what errors call the file.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | IO[Any],
        *,
        delimiter: str | None = None,
        header: bool = True,
        encoding: str = "utf-8",
        name: str | None = None,
    ):
        """
        Args:
          source: a path, or a file open for reading text or bytes.
          delimiter: one character; None: the comma, semicolon, tab or bar that parts most lines
            alike.
          header: whether the first line names the columns; else they are column_1, column_2, ...
          encoding: of the file; a byte order mark is taken off.
          name: what errors call the file; None: its path.
        Raises:
          UserError: no such file, no header, or one with a name twice or none.
        """
        is_path = isinstance(source, (str, os.PathLike))
        self.place = name or (os.fspath(source) if is_path else getattr(source, "name", "input"))
        self._file = _opened(source, place=self.place, encoding=encoding)
        try:
            self._begin(delimiter, has_names=header)
        except UserError:
            self.close()
            raise

    def _begin(self, delimiter: str | None, *, has_names: bool) -> None:
        try:
            head = self._file.read(SAMPLE)
        except UnicodeError as error:
            raise _undecodable(self.place, error) from error
        if head.startswith("\ufeff"):
            head = head[1:]
        if "\0" in head:
            line = head.count("\n", 0, head.index("\0")) + 1
            raise UserError(f"{self.place}:{line}: holds a zero byte; expected a CSV file of text")
        said = re.match(r"sep=(.)\r?\n", head)  # what Excel writes and reads in a line of its own
        self._num_skipped = 1 if said else 0
        if said:
            head, delimiter = head[said.end() :], delimiter or said[1]
        self.dialect = Dialect(delimiter or guess_delimiter(head))
        if len(self.dialect.delimiter) != 1 or self.dialect.delimiter in '\r\n" ':
            raise UserError(f"data.delimiter={delimiter!r}: expected one character, not a quote")
        csv.field_size_limit(MAX_CELL)
        lines = _lines(head, self._file)
        self._reader = csv.reader(lines, delimiter=self.dialect.delimiter, strict=True)
        self._ahead: list[tuple[int, list[str]]] = []
        self.names = self._header(has_names)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[int, list[str]]:
        line, cells = self._ahead.pop() if self._ahead else self._record()
        if len(cells) != len(self.names):
            raise UserError(
                f"{self.place}:{line}: expected {len(self.names)} cells as in the header, found "
                f"{len(cells)} in {self.dialect.delimiter.join(cells)[:60]!r}"
            )
        return line, cells

    def close(self) -> None:
        self._file.close()

    def _record(self) -> tuple[int, list[str]]:
        """The next one that is not empty."""
        while True:
            line = self._num_skipped + self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except UnicodeError as error:
                raise _undecodable(f"{self.place}:{line}", error) from error
            except csv.Error as error:
                raise UserError(
                    f"{self.place}:{line}: not a row of CSV ({error}); expected quotes that close, "
                    "and those inside a quoted cell doubled"
                ) from error
            if cells and (len(cells) > 1 or cells[0].strip()):
                break
        whole = "".join(cells)
        if not whole.isascii():
            _check_text(whole, place=f"{self.place}:{line}")
        elif "\0" in whole:
            raise UserError(f"{self.place}:{line}: holds a zero byte; expected a CSV file of text")
        return line, cells

    def _header(self, has_names: bool) -> tuple[str, ...]:
        try:
            line, cells = self._record()
        except StopIteration:
            raise UserError(f"{self.place}: is empty; expected a header and rows") from None
        if not has_names:
            self._ahead = [(line, cells)]
            return tuple(f"column_{i + 1}" for i in range(len(cells)))
        return check_names([cell.strip() for cell in cells], place=f"{self.place}:{line}")


def read_rows(
    source: str | os.PathLike[str] | IO[Any],
    *,
    delimiter: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    name: str | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a file as (line, column -> cell). An iterator whose `next` raises UserError for a
    row that cannot be read, and goes on after it when called again. Arguments as of `CsvRows`."""
    return _Dicts(CsvRows(source, delimiter=delimiter, header=header, encoding=encoding, name=name))


class _Dicts:
    def __init__(self, rows: CsvRows):
        self._rows = rows

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[int, dict[str, str]]:
        line, cells = next(self._rows)
        return line, dict(zip(self._rows.names, cells))


def check_names(names: Sequence[str], *, place: str) -> tuple[str, ...]:
    """`names` of columns; UserError where one is empty or there twice. The first may be empty, as
    pandas writes the column of row numbers."""
    names = ["Unnamed: 0" if not i and not name else name for i, name in enumerate(names)]
    empty = [i + 1 for i, name in enumerate(names) if not name]
    if empty:
        raise UserError(f"{place}: column {empty[0]} of {len(names)} has no name in the header")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{place}: {first_of(twice)}: twice in the header; expected each name once")
    return tuple(names)


def guess_delimiter(text: str) -> str:
    """Of the beginning of a file: what parts the cells of most of its rows into as many as those of
    the first row; of several the one that makes more cells."""

    def fit(delimiter: str) -> tuple[float, int]:
        lines = io.StringIO(text, newline="")
        counts = []
        try:
            for cells in itertools.islice(csv.reader(lines, delimiter=delimiter), 100):
                counts += [len(cells)] * bool(cells)
        except csv.Error:
            pass
        if len(text) >= SAMPLE:
            counts = counts[:-1]  # the last row may be cut
        if not counts or counts[0] < 2:
            return 0.0, 0
        return round(sum(n == counts[0] for n in counts) / len(counts), 1), counts[0]

    best = max(DELIMITERS, key=fit)
    return best if fit(best)[1] else ","


def _opened(source: Any, *, place: str, encoding: str) -> Any:
    """As text; what is no text in `encoding` becomes surrogates, which `_check_text` finds."""
    try:
        if isinstance(source, (str, os.PathLike)):
            return open(source, encoding=encoding, errors="surrogateescape", newline="")
    except LookupError as error:
        raise UserError(f"data.encoding={encoding!r}: there is no such encoding") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{place}: cannot be read ({reason}); expected a CSV file") from error
    if isinstance(source, io.TextIOBase):
        return source
    return io.TextIOWrapper(source, encoding=encoding, errors="surrogateescape", newline="")


def _lines(head: str, file: Any) -> Iterator[str]:
    """The lines of a file of which `head` was read already."""
    head += file.readline()
    yield from io.StringIO(head, newline="")
    yield from file


def _undecodable(place: str, error: UnicodeError) -> UserError:
    return UserError(f"{place}: {error}; say the file's encoding, as in --config.data.encoding")


def _check_text(text: str, *, place: str) -> None:
    bad = next((c for c in text if "\ud800" <= c <= "\udfff"), None)
    if bad is not None:
        raise UserError(
            f"{place}: byte 0x{ord(bad) & 0xFF:02x} is not UTF-8; save the file as UTF-8, or say "
            "its encoding, such as --config.data.encoding=latin-1"
        )
