"""Owns a file of annotated text between its format and `Sentences`: its bytes as text, its tags as
IOB2, and how what was met in it is told.

What a format looks like belongs to its module (`columns.py`, `csv_words.py`, `records.py`); tagging
schemes belong to `schemes.py`.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from bigjax.data.text import schemes
from bigjax.data.text.sentences import PRE_SPLIT, Note, Origin, Sentences, Strings
from bigjax.errors import UserError

_BLOCK = 2**20  # characters of a file that are cut into lines at a time
NUM_SHOWN = 5  # of what is wrong with a file, the rest is counted
Repair = Literal["none", "conlleval"]
REPAIR = (
    "correct the file, or let --config.data.repair=conlleval read it as that script does, or "
    "--config.data.scheme name the scheme ('none': plain tags)"
)
REPAIRED = "tags that break the scheme, read as conlleval does"


class Annotated(NamedTuple):
    """What a format's module makes of a file.

    words: of each sentence, one or more. tags: as written. lines: where each sentence begins.
    line_of: (sentence, word) -> line, for errors.
    found: what the file was recognised as: name of a property and what it is.
    notes: what was left out or changed -> on which lines.
    rule: as in `Origin`.
    iob2: the sentences whose tags are in IOB2 already, because they come from spans.
    documents: the lines after which a document begins, in order.
    begin: as in `Origin`; empty: the lines.
    """

    words: list[list[str]]
    tags: list[list[str]]
    lines: list[int]
    line_of: Callable[[int, int], int]
    found: Mapping[str, str]
    notes: Mapping[str, Sequence[int]]
    rule: str = PRE_SPLIT
    iob2: frozenset[int] = frozenset()
    documents: Sequence[int] = ()
    begin: Sequence[int] = ()


def read_text(path: str | os.PathLike, *, encoding: str, what: str = "annotated text") -> str:
    """The text of a file without its byte order mark.

    UserError: no such file, no such encoding, bytes that are none of it (the message has the line).
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a file of {what}") from error
    try:
        text = data.decode(encoding)
        text.encode()  # half a character of UTF-16, which some encodings let pass
    except LookupError as error:
        raise UserError(
            f"data.encoding={encoding!r}: Python has no such encoding of text; expected 'utf-8', "
            "'latin-1', 'cp1252', 'utf-16' or another that it has"
        ) from error
    except UnicodeError as error:
        at = getattr(error, "start", 0) if isinstance(error, UnicodeDecodeError) else 0
        number = len(split_lines(data[:at].decode("latin-1")))
        shown = encoding.upper()
        found = f"byte 0x{data[at]:02x}" if at < len(data) else "the end of the file"
        hint = "convert the file, for example with iconv, or name its encoding with data.encoding"
        raise UserError(f"{path}:{number}: expected {shown}, found {found}; {hint}") from error
    return text.removeprefix("\ufeff")


def split_lines(text: str) -> list[str]:
    """Not `str.splitlines`, which also splits at characters that words of real files hold. Lines
    that are equal are one object: of a large file of columns most are."""
    if "\r" in text:
        text = re.sub(r"\r*\n|\r", "\n", text)
    lines: list[str] = []
    known: dict[str, str] = {}
    begin = 0
    while begin >= 0:
        end = text.find("\n", begin + _BLOCK)
        block = text[begin : end if end >= 0 else None].split("\n")
        lines.extend(map(known.setdefault, block, block))
        begin = end + 1 if end >= 0 else -1
    return lines


def to_sentences(
    found: Annotated,
    *,
    path: str | os.PathLike,
    scheme: str,
    repair: Repair,
    tag_names: Sequence[str] | None,
) -> Sentences:
    """The sentences of a file, its tags in IOB2 or plain.

    tag_names: the names of tags that are written as numbers.

    UserError: no sentence; a number without a name; tags that break their scheme, unless `repair`
    is "conlleval", which reads them as that script does and notes them.
    """
    if not found.words:
        left_out = "".join(f", {what}: {len(lines)}" for what, lines in found.notes.items())
        raise UserError(f"{path}: no sentence in it{left_out}; expected one word or more with tags")
    if tag_names is not None:
        found = found._replace(tags=_named(found, path=path, tag_names=tag_names))
    iob2 = _to_iob2(found, path=path, scheme=scheme)
    notes = dict(found.notes)
    if iob2.slips:
        lines = [found.line_of(slip.sentence, slip.index) for slip in iob2.slips]
        if repair == "none":
            problems = [(line, slip.message) for line, slip in zip(lines, iob2.slips)]
            raise broken(path, problems, hint=REPAIR)
        notes[REPAIRED] = lines
    spelt = iob2.spelling if iob2.spelling not in ("", "B-TYPE", "TYPE") else None
    named = {"none": "plain", "": "spans"}.get(iob2.scheme, iob2.scheme.upper())
    facts = {
        **found.found,
        "tags": named + (f" spelt {spelt}" if spelt else "") + f" ({_kinds(iob2)})",
        "sentences": f"{len(found.words):,}",
        "words": f"{sum(map(len, found.words)):,}",
    }
    told = [f"{name}: {value}" for name, value in facts.items()]
    told += [f"{what}: {len(lines):,}" for what, lines in notes.items()]
    origin = Origin(
        paths=(str(path),),
        file=np.zeros(len(found.words), np.int32),
        line=np.array(found.lines, np.int64),
        begin=np.array(found.begin or found.lines, np.int64),
        document=np.searchsorted(found.documents, found.lines).astype(np.int32),
        found=(f"{path}: {'; '.join(told)}",),
        notes=tuple(_notes(notes, path=path)),
        rule=found.rule,
    )
    return Sentences(Strings.of(found.words), Strings.of(iob2.tags), str(path), origin)


def _kinds(iob2: schemes.Iob2) -> str:
    """The types of entities, or the plain tags, of which the first are named."""
    tags = sorted({tag for tags in iob2.tags for tag in tags})
    if iob2.scheme != "none":
        tags = sorted({tag[2:] or "of no type" for tag in tags if tag != "O"}) or ["no entity"]
    more = f" and {len(tags) - 2 * NUM_SHOWN:,} more" if len(tags) > 2 * NUM_SHOWN else ""
    return ", ".join(tags[: 2 * NUM_SHOWN]) + more


def _to_iob2(found: Annotated, *, path: str | os.PathLike, scheme: str) -> schemes.Iob2:
    """All tags in IOB2; those of spans are."""
    if not found.iob2:
        return schemes.to_iob2(found.tags, scheme=scheme)
    numbers = [i for i in range(len(found.tags)) if i not in found.iob2]
    if not numbers:
        return schemes.Iob2(found.tags, "", "", [])
    others = schemes.to_iob2([found.tags[i] for i in numbers], scheme=scheme)
    if others.scheme == "none" and any(tag != "O" for tags in others.tags for tag in tags):
        raise UserError(
            f"{path}:{found.lines[numbers[0]]}: plain tags, and others of the file mark spans; "
            "expected one kind: use two files, or give data.scheme"
        )
    tags = list(found.tags)
    for number, converted in zip(numbers, others.tags):
        tags[number] = converted
    slips = [slip._replace(sentence=numbers[slip.sentence]) for slip in others.slips]
    return others._replace(tags=tags, slips=slips)


def broken(path: str | os.PathLike, problems: Sequence[tuple[int, str]], *, hint: str) -> UserError:
    """The error of a file with problems (line, what is wrong): all counted, the first shown."""
    (line, message), *others = problems
    if others:
        shown = [f"{path}:{at}: {what}" for at, what in others[: NUM_SHOWN - 1]]
        more = len(others) - len(shown)
        shown += [f"and {more:,} more"] * bool(more)
        message += f" (the first of {len(problems):,}; then {'; '.join(shown)})"
    return UserError(f"{path}:{line}: {message}; {hint}")


def _named(
    found: Annotated, *, path: str | os.PathLike, tag_names: Sequence[str]
) -> list[list[str]]:
    names = {str(number): name for number, name in enumerate(tag_names)}
    for sentence, tags in enumerate(found.tags):
        for index, tag in enumerate(tags):
            if tag not in names and re.fullmatch(r"-?[0-9]+", tag):
                raise UserError(
                    f"{path}:{found.line_of(sentence, index)}: tag {tag} has no name among the "
                    f"{len(names)} of data.tag_names; expected 0 to {len(names) - 1}"
                )
    return [[names.get(tag, tag) for tag in tags] for tags in found.tags]


def _notes(notes: Mapping[str, Sequence[int]], *, path: str | os.PathLike) -> Iterator[Note]:
    for what, lines in notes.items():
        yield Note(what, len(lines), tuple(f"{path}:{line}" for line in lines[:NUM_SHOWN]))
