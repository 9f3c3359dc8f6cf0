"""Owns the reading of CoNLL column files: lines to sentences, tagging schemes to IOB2.

Made for the user's own files, so whatever is malformed is an error that names file and line, and
nothing is skipped or corrected in silence. A file is read a block at a time, so that one of any
size takes no more memory than its words. What becomes of the sentences belongs to `windowing.py`,
the scores of tags to `metrics.py`.
"""

import codecs
import functools
import itertools
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bigjax.data.text.sentences import Sentences, Strings, collect
from bigjax.errors import UserError, nearest

_BLOCK_BYTES = 2**20  # of a file that are text at a time
_NUM_KNOWN = 2**16  # lines that are taken apart once

# The letters that each scheme puts before "-TYPE", and what a letter means in BIOES.
_LETTERS = {
    "iob2": "BI",
    "iob1": "BI",
    "bioes": "BIES",
    "bilou": "BILU",
    "bmewo": "BMEW",
    "bmes": "BMES",
}
_ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
_MARKED = re.compile(f"([{''.join(_ROLES)}])(?:-(.+))?")


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
    scheme = _known_scheme(scheme, valid=("auto", "none", *_LETTERS))
    if token_column == tag_column:
        raise UserError(f"token_column and tag_column are both {tag_column}; expected two columns")
    if separator == "":
        raise UserError("separator is ''; expected a character, or None to decide by the file")
    seen = _Seen(array("q"), set())
    which = {"token": token_column, "tag": tag_column}
    lines = _read_lines(path)
    tagged = _read_sentences(lines, path=path, separator=separator, seen=seen, **which)
    found = collect(tagged, where=str(path))
    tags = _all_to_iob2(found.tags, scheme=scheme, path=path, seen=seen)
    return found._replace(tags=tags)


def to_iob2(tags: Sequence[str], *, scheme: str) -> list[str]:
    """The tags of one sentence in IOB2; those of scheme "none" as they are.

    "iob1" is read as conlleval does: I- begins an entity where none of its type goes on, B- always
    does. The other schemes are strict: UserError at the first tag that cannot stand where it does.
    """
    scheme = _known_scheme(scheme, valid=("none", *_LETTERS))
    if scheme == "none":
        return list(tags)
    fault = _first_fault([tags], scheme=scheme)
    if fault is not None:
        raise UserError(f"tag {fault.index + 1} of {len(tags)}: {fault.message}")
    return _convert(tags, scheme=scheme)


def _known_scheme(scheme: str, *, valid: Iterable[str]) -> str:
    if scheme.lower() not in valid:
        raise UserError(f"no tagging scheme {scheme!r}; {nearest(scheme.lower(), valid)}")
    return scheme.lower()


# --- lines and columns ---


class _Seen(NamedTuple):
    """What reading a file learns beside its words and tags.

    first_lines: the number of the line of the first word of each sentence; its other words are on
      the lines that follow.
    pairs: each tag with the one before it; a sentence stands between two "O". They are few, and all
      that the validity of a file depends on.
    """

    first_lines: array
    pairs: set[tuple[str, str]]


def _read_lines(path: str | os.PathLike) -> Iterator[str]:
    number, rest = 0, ""
    try:
        with open(path, "rb") as file:
            while content := file.read(_BLOCK_BYTES) + file.readline():
                text = _decode(content, path=path, lines_before=number)
                *lines, rest = _split_lines(text)  # the end of a block is that of a line
                number += len(lines)
                yield from lines
        yield rest
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a file of CoNLL columns") from error


def _decode(content: bytes, *, path: str | os.PathLike, lines_before: int) -> str:
    if not lines_before:
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        number = lines_before + len(_split_lines(content[: error.start].decode("latin-1")))
        found = f"byte 0x{content[error.start]:02x}"
        message = f"expected UTF-8, found {found}; convert the file, for example with iconv"
        raise UserError(f"{path}:{number}: {message}") from error


def _split_lines(text: str) -> list[str]:
    """Not `str.splitlines`, which also splits at characters that words of real files hold."""
    if "\r" in text:
        text = re.sub(r"\r*\n|\r", "\n", text)
    return text.split("\n")


def _read_sentences(
    lines: Iterable[str],
    *,
    path: str | os.PathLike,
    token: int,
    tag: int,
    separator: str | None,
    seen: _Seen,
) -> Iterator[tuple[list[str], list[str]]]:
    """The words of each sentence and their tags as written; `seen` is filled on the way."""
    split, first, number = None, 0, 0  # how the first line of data is split, and its number
    words: list[str] = []
    tags: list[str] = []
    known: dict[str, tuple[str, str]] = {}  # most lines of a text were there before
    for number, line in enumerate(lines, 1):
        if line in known:
            word, label = known[line]
        elif not line or line.isspace() or _is_docstart(line):
            if words:
                seen.pairs.update(_pairs(tags))
                yield words, tags
                words, tags = [], []
            continue
        else:
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
            if len(known) < _NUM_KNOWN:
                known[line] = word, label
        if not words:
            seen.first_lines.append(number)
        words.append(word)
        tags.append(label)
    if words:
        seen.pairs.update(_pairs(tags))
        yield words, tags
    if not seen.first_lines:
        raise UserError(f"{path}: no sentence in its {number} lines; expected one word a line")


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


# --- tagging schemes ---


class _Fault(NamedTuple):
    sentence: int
    index: int  # of the tag in the sentence
    message: str


def _all_to_iob2(tags: Strings, *, scheme: str, path: str | os.PathLike, seen: _Seen) -> Strings:
    found = _recognise(seen.pairs) if scheme == "auto" else scheme
    if found == "none":
        return tags
    made = {pair: found and _step(*pair, scheme=found) for pair in seen.pairs}
    if None in made.values():
        fault = _first_fault(tags, scheme=found) if found else _first_misfit(tags)
        number = seen.first_lines[fault.sentence] + fault.index
        raise UserError(f"{path}:{number}: {fault.message}")
    if all(tag == new for (_, tag), new in made.items()):
        return tags
    return Strings.of(_convert(sentence, scheme=found) for sentence in tags)


def _recognise(pairs: set[tuple[str, str]]) -> str | None:
    """The scheme of a whole file: the first that it is valid in, else the first that has all its
    prefixes, or None where no scheme has them all."""
    tags = {tag for _, tag in pairs}
    if not any(tag.startswith(("B-", "I-")) for tag in tags):
        unmarked = any(tag != "O" and not _MARKED.fullmatch(tag) for tag in tags)
        if unmarked or not any("-" in tag or tag in ("B", "I") for tag in tags):
            return "none"
    # In IOB1 a B- stands only where an I- would go on with the entity before it.
    parting = all(
        _step(before, "I" + tag[1:], scheme="iob2") for before, tag in pairs if tag[0] == "B"
    )
    possible = [scheme for scheme in _LETTERS if all(_parse(tag, scheme)[0] for tag in tags)]
    valid = (
        scheme
        for scheme in possible
        if all(_step(*pair, scheme=scheme) for pair in pairs) and (scheme != "iob1" or parting)
    )
    return next(valid, possible[0] if possible else None)


def _first_misfit(sentences: Sequence[Sequence[str]]) -> _Fault:
    """The first tag that no scheme has together with the tags before it; there must be one."""
    possible = list(_LETTERS)
    for sentence, tags in enumerate(sentences):
        for index, tag in enumerate(tags):
            possible = [scheme for scheme in possible if _parse(tag, scheme)[0]]
            if not possible:
                known = ", ".join(
                    f"{name.upper()} ({letters})" for name, letters in _LETTERS.items()
                )
                message = f"tag {tag!r} is in no scheme that has the tags before it; expected one"
                hint = "or give scheme='none' for plain tags"
                return _Fault(sentence, index, f"{message} of {known}, {hint}")
    raise AssertionError("every tag fits")


def _first_fault(sentences: Sequence[Sequence[str]], *, scheme: str) -> _Fault | None:
    """The first tag that `scheme` does not have, or not where it stands."""
    for sentence, tags in enumerate(sentences):
        for index, (before, tag) in enumerate(_pairs(tags)):
            if not _step(before, tag, scheme=scheme):
                message = _explain(before, tag, scheme=scheme, is_end=index == len(tags))
                return _Fault(sentence, min(index, len(tags) - 1), message)
    return None


def _explain(before: str, tag: str, *, scheme: str, is_end: bool) -> str:
    if _parse(tag, scheme)[0] is None:
        expected = " or ".join(f"{letter}-TYPE" for letter in _LETTERS[scheme])
        return f"tag {tag!r} is not in {scheme.upper()}; expected O or {expected}"
    if is_end:
        return f"tag {before!r} cannot end a sentence in {scheme.upper()}"
    hint = "; scheme='iob1' would begin an entity with it" if scheme == "iob2" else ""
    return f"tag {tag!r} cannot come after {before!r} in {scheme.upper()}{hint}"


def _pairs(tags: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Each tag with the one before it; the sentence stands between two "O"."""
    return itertools.pairwise(("O", *tags, "O"))


def _convert(tags: Sequence[str], *, scheme: str) -> list[str]:
    return [_step(before, tag, scheme=scheme) for before, tag in itertools.pairwise(("O", *tags))]


@functools.lru_cache(maxsize=1 << 16)
def _step(before: str, tag: str, *, scheme: str) -> str | None:
    """`tag` in IOB2, or None where `scheme` does not have it, or not right after `before`."""
    (before_role, before_kind), (role, kind) = _parse(before, scheme), _parse(tag, scheme)
    if role is None or before_role is None:
        return None
    is_open = before_role in ("B", "I")
    goes_on = is_open and before_kind == kind
    if scheme == "iob1":
        allowed, begins = True, role == "B" or not goes_on
    elif scheme == "iob2":
        allowed, begins = role != "I" or goes_on, role == "B"
    else:
        allowed, begins = goes_on if role in ("I", "E") else not is_open, role in ("B", "S")
    if not allowed:
        return None
    return tag if role == "O" else ("B" if begins else "I") + tag[1:]


def _parse(tag: str, scheme: str) -> tuple[str | None, str | None]:
    """Role ("O" or one of BIES) and type of a tag; the role is None where the scheme lacks it."""
    if tag == "O":
        return "O", None
    match = _MARKED.fullmatch(tag)
    if match is None or match[1] not in _LETTERS[scheme]:
        return None, None
    return _ROLES[match[1]], match[2]
