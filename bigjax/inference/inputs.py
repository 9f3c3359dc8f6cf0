"""Owns reading inputs from files, from standard input and from folders, one at a time and in order:
text, lines, JSON lines, columns of CoNLL, tables, images.

What is made of an input belongs to the task (`Use.prepare`).
"""

import codecs
import glob
import io
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import IO, Any, Literal, NamedTuple, Self

from bigjax.config.values import Config
from bigjax.data.images.image_sources import image_files
from bigjax.data.tables import csv_rows
from bigjax.data.text import columns, csv_words, records, segmenting
from bigjax.errors import UserError, nearest

Kind = Literal["auto", "text", "lines", "jsonl", "conll", "csv", "words", "images"]
STDIN = "-"
_BLOCK = 2**16  # bytes of a document
_BY_ENDING: dict[str, Kind] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".conll": "conll", ".conllu": "conll", ".conll03": "conll", ".iob": "conll", ".iob2": "conll",
    ".bio": "conll", ".tsv": "conll", ".csv": "csv",
}  # fmt: skip
_KINDS: Mapping[str, tuple[Kind, ...]] = {  # the first is that of a file of any other name
    "text": ("text", "lines", "jsonl", "conll", "csv", "words"),
    "row": ("csv", "jsonl"),
    "image": ("images",),
}


class Given(NamedTuple):
    """An input as it was read.

    value: what `Use.prepare` takes; nothing where `problem` says what is wrong.
    place: where it stands, "file:line", or the file.
    read: bytes of all inputs read so far.
    """

    value: Any
    place: str
    read: int
    problem: str = ""


class Reading(NamedTuple):
    """How files are read: what they are, and what evaluation reads the run's own files by.

    token_column, separator: of columns, as `columns.parse` has them. delimiter, header: of tables,
    as `CsvRows` has them. encoding: of text. endings: of files, that the task reads otherwise than
    usual (`Use.endings`).
    """

    kind: Kind = "auto"
    token_column: int | str | None = None
    separator: str | None = None
    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"
    endings: Mapping[str, Kind] = MappingProxyType({})

    @classmethod
    def of(cls, config: Config, *, kind: Kind, endings: Mapping[str, Kind]) -> Self:
        settings = {key.removeprefix("data."): value for key, value in config.flat().items()}
        given = {key: settings[key] for key in cls._fields[1:-1] if key in settings}
        return cls(kind, **given, endings=endings)


def read(source: str, *, takes: str, reading: Reading) -> Iterator[Given]:
    """The inputs of a file, of several parted by commas, of a pattern, of a folder of images, or
    of standard input ("-").

    A text file is one document, which comes segment by segment with their places in it; "lines"
    makes each line a text. Empty lines are texts without words. Nothing is kept of what was read.

    Args:
      takes: what the task takes, "text", "image" or "row".
    Raises:
      UserError: no such file; a kind of file that is none for this task; a document that is not of
        the encoding. Of a line that cannot be read, `problem` says why.
    """
    if reading.kind != "auto" and reading.kind not in _KINDS[takes]:
        raise UserError(f"--input_format={reading.kind}: {nearest(reading.kind, _KINDS[takes])}")
    done = 0
    for path in paths(source, takes=takes):
        kind = _kind(path, takes=takes, reading=reading)
        if kind == "images":
            done += os.path.getsize(path) if os.path.exists(path) else 0
            yield Given(path, path, done)
            continue
        name = "standard input" if path == STDIN else path
        with _opened(path) as file:
            counted = _Counted(file)
            for value, line, problem in _READERS[kind](counted, path=name, reading=reading):
                place = f"{name}:{line}" if line else name
                yield Given(value, place, done + counted.num, problem)
        done += counted.num


def size(source: str, *, takes: str) -> int | None:
    """Bytes of all that `read` will read; None where that is not known."""
    found = paths(source, takes=takes)
    if STDIN in found:
        return None
    return sum(os.path.getsize(path) for path in found if os.path.exists(path))


def paths(source: str, *, takes: str) -> list[str]:
    """The files of a source, in order; a name in it that is there is a file whatever it holds."""
    source = source if source == STDIN or os.path.exists(source) else os.path.expanduser(source)
    if source == STDIN and takes == "image":  # their names, one a line
        return [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
    parts = [source] if os.path.exists(source) else source.split(",")
    found: list[str] = []
    for part in parts:
        if os.path.isdir(part) and takes == "image":
            found += image_files(part)
        elif os.path.isdir(part):
            raise UserError(f"--input={part}: is a folder; expected a file, or a pattern")
        elif part == STDIN or os.path.exists(part):
            found.append(part)
        elif glob.has_magic(part) and (matching := sorted(glob.glob(part, recursive=True))):
            found += matching
        else:
            raise UserError(f"--input={part}: no such file; expected a file, a pattern or -")
    return found


def _kind(path: str, *, takes: str, reading: Reading) -> Kind:
    if takes == "image" or reading.kind != "auto":
        return "images" if takes == "image" else reading.kind
    ending = os.path.splitext(path)[1].lower()
    usual = {**_BY_ENDING, **reading.endings}
    kind = usual.get(ending, usual.get("", _KINDS[takes][0]))
    if kind == "csv" and takes == "text" and _has_words(path, reading.encoding):
        return "words"
    if kind == "conll" and takes == "row":
        return "csv"
    return kind if kind in _KINDS[takes] else _KINDS[takes][0]


def _has_words(path: str, encoding: str) -> bool:
    """Whether a table has a word a row, as training reads such, and no texts."""
    with _opened(path) as file:
        first = file.readline(_BLOCK).decode(_sure(encoding), "replace")
    return csv_words.delimiter_of(first.removeprefix("\ufeff")) is not None


def _opened(path: str) -> IO[bytes]:
    if path == STDIN:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise UserError(f"--input={path}: cannot be read ({error.strerror})") from error


class _Counted(io.RawIOBase):
    """A file of bytes that knows how many were read."""

    def __init__(self, file: IO[bytes]):
        self._file, self.num = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        self.num += len(found)
        return len(found)


Found = Iterator[tuple[Any, int, str]]  # value, its line or 0, what is wrong with it


def _document(file: _Counted, *, path: str, reading: Reading) -> Found:
    for piece in segmenting.segment(_blocks(file, path=path, encoding=reading.encoding)):
        yield piece, 0, ""


def _blocks(file: _Counted, *, path: str, encoding: str) -> Iterator[str]:
    """The text of a file without its byte order mark; UserError says on which line it is none."""
    decoder = codecs.getincrementaldecoder(_sure(encoding))()
    num_lines, first = 1, True
    while True:
        data = file.read(_BLOCK)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = num_lines + error.object[: error.start].count(b"\n")
            raise UserError(
                f"{path}:{line}: is not {encoding} (byte 0x{error.object[error.start]:02x}); "
                "convert the file, or name its encoding with --config.data.encoding"
            ) from error
        num_lines += text.count("\n")
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        yield text
        if not data:
            return


def _lines(file: _Counted, *, path: str, reading: Reading) -> Found:
    """Each line, without its end."""
    encoding = _sure(reading.encoding)
    if encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):  # their bytes are no lines
        text = _split(_blocks(file, path=path, encoding=encoding))
        yield from ((line, number, "") for number, line in enumerate(text, 1))
        return
    for number, raw in enumerate(io.BufferedReader(file), 1):
        try:
            line = raw.decode(encoding)
        except UnicodeDecodeError as error:
            yield None, number, f"is not {reading.encoding} (byte 0x{raw[error.start]:02x})"
            continue
        yield (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\r\n"), number, ""


def _split(blocks: Iterator[str]) -> Iterator[str]:
    rest = ""
    for block in blocks:
        *lines, rest = (rest + block).split("\n")
        yield from (line.rstrip("\r") for line in lines)
    if rest:
        yield rest.rstrip("\r")


def _json(file: _Counted, *, path: str, reading: Reading) -> Found:
    """A record a line, blank lines left out; or the records of a list, which is read as a whole."""
    lines = _lines(file, path=path, reading=reading)
    begin = next((found for found in lines if found[2] or found[0].strip()), None)
    if begin is None:
        return
    if not begin[2] and re.match(r"\s*\[\s*[^\s\"]|\s*[\[{]\s*$", begin[0]):
        blank = "\n" * (begin[1] - 1)
        text = "\n".join([blank + begin[0], *(_or_raise(*line, path=path) for line in lines)])
        yield from ((value, number, "") for number, value in records.items(text, path=path))
        return
    for line, number, problem in itertools.chain([begin], lines):
        if problem:
            yield None, number, problem
        elif line.strip():
            try:
                yield json.loads(line), number, ""
            except json.JSONDecodeError as error:
                reason = f"not JSON ({error.msg} at character {error.colno})"
                yield None, number, f"{reason}; expected one object a line"
            except RecursionError:
                yield None, number, "not JSON (nested too deeply); expected one object a line"


def _conll(file: _Counted, *, path: str, reading: Reading) -> Found:
    """The words of one sentence after the other."""
    lines = _lines(file, path=path, reading=reading)
    text = (_or_raise(*line, path=path) for line in lines)
    found = columns.sentences_of_words(
        text, path=path, token_column=reading.token_column, separator=reading.separator
    )
    for number, words in found:
        yield words, number, ""


def _or_raise(line: Any, number: int, problem: str, *, path: str) -> str:
    if problem:
        raise UserError(f"{path}:{number}: {problem}")
    return line


def _rows(file: _Counted, *, path: str, reading: Reading) -> Found:
    """The rows of a table, each a dict of its columns."""
    rows = csv_rows.CsvRows(
        io.BufferedReader(file),
        delimiter=reading.delimiter or reading.separator,
        header=reading.header,
        encoding=_sure(reading.encoding),
        name=path,
    )
    while True:
        try:
            number, cells = next(rows)
        except StopIteration:
            return
        except UserError as error:
            yield None, 0, str(error)
            continue
        yield dict(zip(rows.names, cells)), number, ""


def _table_of_words(file: _Counted, *, path: str, reading: Reading) -> Found:
    """The words of a table with one a row, which is read as a whole."""
    text = "".join(_blocks(file, path=path, encoding=reading.encoding))
    found = csv_words.parse(
        text, path=path, token_column=reading.token_column, separator=reading.separator
    )
    yield from ((words, line, "") for words, line in zip(found.words, found.lines))


def _sure(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise UserError(f"data.encoding={encoding!r}: Python has no such encoding") from error


_READERS: Mapping[str, Callable[..., Found]] = {
    "text": _document,
    "lines": _lines,
    "jsonl": _json,
    "conll": _conll,
    "csv": _rows,
    "words": _table_of_words,
}
