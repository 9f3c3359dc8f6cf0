"""Owns the reading of CoNLL column files: lines to sentences with tags in IOB2.

Made for the user's own files, so whatever is malformed is an error that names file and line, and
nothing is skipped or repaired in silence. Tagging schemes belong to `tags.py`, what becomes of the
sentences to `windowing.py`.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bigjax.data.text.sentences import Sentences, Strings
from bigjax.data.text.tags import faults, known_scheme, recognise, to_iob2
from bigjax.errors import UserError


class _Columns(NamedTuple):
    """What the lines of a file hold. tags: as written; first_lines: the line number of the first
    word of each sentence; its other words are on the lines that follow."""

    words: list[list[str]]
    tags: list[list[str]]
    first_lines: list[int]


def read(
    path: str | os.PathLike,
    *,
    token_column: int = 0,
    tag_column: int = -1,
    separator: str | None = None,
    scheme: str = "auto",
) -> Sentences:
    """Reads a UTF-8 file with one word a line, its columns separated, its sentences by blank lines.

    token_column, tag_column: indexes from 0, negative from the end. Where either is negative,
    every line must have as many columns as the first: a column lost or gained would shift it.
    separator: None decides by the first line of data: tabs if it has one, else runs of spaces.
    " " means runs of spaces; any other text is taken exactly. Words in tab-separated files may
    hold spaces.
    scheme: "iob1", "iob2", "bioes", "bilou", "bmewo", "bmes", all converted to IOB2; "none" leaves
    plain tags, such as parts of speech, as they are; "auto" looks at the whole file. Capitals may
    be used too.

    - It is plain if no tag begins with "B-" or "I-" and some tag is outside all schemes ("NN",
      "PRON"), or if its tags are single letters with neither "B" nor "I" among them.
    - Any other file must be wholly valid in one scheme. One with only B- and I- is IOB2 if every
      I- goes on with an entity, and IOB1 if B- is used only to part two neighbours of one type.
      One that does both (an IOB2 file with a slip, mostly) is an error at the first such I-;
      `scheme="iob1"` reads it as conlleval would: that I- begins an entity.

    Lines end in LF, CR LF or CR. Lines with nothing but whitespace end a sentence, and so do
    -DOCSTART- lines; no other line is special ("#" is a word). A byte order mark is dropped.

    UserError: no such file or no sentence in it, bytes that are not UTF-8, too few or too many
    columns, an empty word or tag, tags that fit no scheme or not the given one.
    """
    scheme = known_scheme(scheme, besides=["auto", "none"])
    if token_column == tag_column:
        raise UserError(f"token_column and tag_column are both {tag_column}; expected two columns")
    if separator == "":
        raise UserError("separator is ''; expected a character, or None to decide by the file")
    lines = _read_lines(path)
    which = {"token": token_column, "tag": tag_column}
    columns = _read_columns(lines, path=path, separator=separator, **which)
    if not columns.words:
        raise UserError(f"{path}: no sentence in its {len(lines)} lines; expected one word a line")
    tags = _all_to_iob2(columns, scheme=scheme, path=path)
    return Sentences(Strings.of(columns.words), Strings.of(tags), where=str(path))


# --- lines and columns ---


def _read_lines(path: str | os.PathLike) -> list[str]:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a file of CoNLL columns") from error
    try:
        return _split_lines(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        # error.object, not data: without the byte order mark, as error.start counts.
        number = len(_split_lines(error.object[: error.start].decode("latin-1")))
        found = f"byte 0x{error.object[error.start]:02x}"
        message = f"expected UTF-8, found {found}; convert the file, for example with iconv"
        raise UserError(f"{path}:{number}: {message}") from error


def _split_lines(text: str) -> list[str]:
    """Not `str.splitlines`, which also splits at characters that words of real files hold."""
    if "\r" in text:
        text = re.sub(r"\r*\n|\r", "\n", text)
    return text.split("\n")


def _read_columns(
    lines: Sequence[str],
    *,
    path: str | os.PathLike,
    token: int,
    tag: int,
    separator: str | None,
) -> _Columns:
    columns = _Columns([], [], [])
    split, first = None, 0  # how the first line of data is split, and its number
    inside = False  # a sentence
    for number, line in enumerate(lines, 1):
        if not line or line.isspace() or _is_docstart(line):
            inside = False
            continue
        if split is None:
            split, first = _splitter(separator or ("\t" if "\t" in line else " ")), number
            width = len(split(line))
        fields = split(line)
        if len(fields) != width or number == first:
            expected = _expected_width(len(fields), first=width, token=token, tag=tag)
            if expected:
                as_before = "" if number == first else f" as on line {first}"
                found = f"found {len(fields)} in {line[:60]!r}"
                raise UserError(f"{path}:{number}: expected {expected}{as_before}, {found}")
        word, label = fields[token].strip(" "), fields[tag].strip()
        if not word or not label:
            empty = "tag" if word else "word"
            raise UserError(f"{path}:{number}: the {empty} is empty in {line[:60]!r}")
        if not inside:
            columns.words.append([])
            columns.tags.append([])
            columns.first_lines.append(number)
            inside = True
        columns.words[-1].append(word)
        columns.tags[-1].append(label)
    return columns


def _is_docstart(line: str) -> bool:
    return "-DOCSTART-" in line and re.search(r"(^|\s)-DOCSTART-", line) is not None


def _splitter(separator: str) -> Callable[[str], list[str]]:
    if separator == " ":
        return lambda line: [field for field in line.split(" ") if field]
    return lambda line: line.split(separator)


def _expected_width(found: int, *, first: int, token: int, tag: int) -> str | None:
    """The columns that a line of `found` ones, in a file that opens with one of `first`, should
    have had; None where it has them."""
    least = max(2, *(index + 1 if index >= 0 else -index for index in (token, tag)))
    if found != first and min(token, tag) < 0:
        return f"{first} columns"
    if found < least:
        return f"{least} columns or more"
    if token % found == tag % found:
        return f"token_column={token} and tag_column={tag} to be different columns"
    return None


def _all_to_iob2(columns: _Columns, *, scheme: str, path: str | os.PathLike) -> list[list[str]]:
    found = recognise(columns.tags) if scheme == "auto" else scheme
    if found == "none":
        return columns.tags
    for fault in faults(columns.tags, scheme=found):
        number = columns.first_lines[fault.sentence] + fault.index
        raise UserError(f"{path}:{number}: {fault.message}")
    return [to_iob2(tags, scheme=found) for tags in columns.tags]
