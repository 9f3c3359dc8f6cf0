"""Owns what the lines of a column file hold: which are comments or a header, how columns are
parted, and which of these hold the words and the tags.

Reading them belongs to `columns.py`.
"""

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bigjax.errors import UserError, nearest

Column = int | str | None  # an index from 0 or from the end, a name, or by the file

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
WORD_NAMES = ("token", "tokens", "word", "words", "form", "text")
TAG_NAMES = (
    "tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "ner-tag", "entity", "entities",
    "iob", "bio", "ne", "named_entity", "pos", "pos_tag", "pos_tags", "upos", "xpos", "chunk",
)  # fmt: skip

# After "#": nothing, a blank, or a key; anything else may be a word that has lost its columns.
_COMMENT = re.compile(r"#(?:$|\s|[\w.-]+\s*[=:]|(?:begin|end)\s+document\b)")
_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
# Tags that a "#" may have, though no other word has them.
_TAG_OF_HASH = re.compile(r"O|[BIESLUMW]-.+|[^a-z0-9\s]+")


class Layout(NamedTuple):
    """What the lines of a file hold. first: the number of the first line of data; header: of the
    line that names the columns, or 0. names: of the columns, or none. token, tag: indexes. key: of
    MISC, whose value is the tag, or None."""

    separator: str
    split: Callable[[str], list[str]]
    width: int
    names: tuple[str, ...]
    token: int
    tag: int
    key: str | None
    is_conllu: bool
    is_comment: Callable[[str], bool]
    first: int
    header: int


def find_layout(
    lines: Sequence[str],
    *,
    path: str | os.PathLike,
    token: Column,
    tag: Column,
    separator: str | None,
    kind: str,
) -> Layout:
    """By the beginning of the file, and where that leaves a choice by the rest of it. The arguments
    are those of `columns.parse`.

    UserError: no line of data, no such column.
    """
    begin = list(itertools.islice(_data(lines), 2)) or list(itertools.islice(_content(lines), 1))
    if not begin:
        raise UserError(f"{path}: no sentence in its {len(lines)} lines; expected one word a line")
    (first, line), *following = begin
    separator = separator or ("\t" if "\t" in line else " ")
    split = _splitter(separator)
    fields, names, header = split(line), _global_columns(lines[: first - 1]), 0
    if following and not names and _names_columns(fields, _rest(lines[first:], split)):
        header, names = first, tuple(field.strip().lower() for field in fields)
        first, line = following[0]
        fields = split(line)
    is_conllu = kind == "conllu" or (kind == "auto" and _is_conllu(fields, names))
    if is_conllu and not names:
        names = CONLLU
        if len(fields) < len(CONLLU):
            found = f"found {len(fields)} in {line[:60]!r}"
            raise UserError(f"{path}:{first}: expected the ten columns of CoNLL-U, {found}")
    find = functools.partial(_index, names=names, place=f"{path}:{header or first}")
    key = None
    if isinstance(tag, str) and is_conllu and "misc" in names and _is_key(tag, names):
        tag, key = names.index("misc"), tag
        _check_key(key, lines, column=tag, split=split, path=path)
    if token is None:
        token = _default_token(lines, names=names, split=split, width=len(fields))
    tag = _default_tag(names) if tag is None else tag
    layout = Layout(
        separator=separator,
        split=split,
        width=len(fields),
        names=names,
        token=find(token, setting="token_column"),
        tag=find(tag, setting="tag_column"),
        key=key,
        is_conllu=is_conllu,
        is_comment=lambda _: True,
        first=first,
        header=header,
    )
    return layout if is_conllu else layout._replace(is_comment=_comment_test(lines, layout))


def _content(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """What is not blank and no -DOCSTART- line, with its line number."""
    for number, line in enumerate(lines, 1):
        if line and not line.isspace() and not is_docstart(line):
            yield number, line


def _data(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Of that, what cannot be a comment."""
    return ((number, line) for number, line in _content(lines) if not _COMMENT.match(line))


def _splitter(separator: str) -> Callable[[str], list[str]]:
    if separator == " ":
        return lambda line: [field for field in line.split(" ") if field]
    return lambda line: line.split(separator)


def _rest(lines: Sequence[str], split: Callable[[str], list[str]]) -> Iterator[list[str]]:
    return (split(line) for _, line in _data(lines))


def _global_columns(lines: Sequence[str]) -> tuple[str, ...]:
    """The names that CoNLL-U Plus gives its columns in a comment."""
    found = filter(None, map(_GLOBAL_COLUMNS.match, lines))
    return next((tuple(match[1].lower().split()) for match in found), ())


def _names_columns(fields: Sequence[str], rest: Iterator[list[str]]) -> bool:
    """Whether the first line is a header: it names a column of words and one of tags, and what it
    has there is no tag of the other lines."""
    names = [field.strip().lower() for field in fields]
    tags = [at for at, name in enumerate(names) if name in TAG_NAMES]
    if not tags or not any(name in WORD_NAMES for name in names):
        return False
    return not any(
        len(other) == len(fields) and any(other[at].strip() == fields[at].strip() for at in tags)
        for other in rest
    )


def _is_conllu(fields: Sequence[str], names: Sequence[str]) -> bool:
    """By the first line of data. Ten columns of which the first is an ID are CoNLL-U; more may be
    an extension of it, in which the seventh is HEAD, or something else."""
    if not re.fullmatch(r"[0-9]+([-.][0-9]+)?", fields[0]):
        return False
    if names:
        return tuple(names[:2]) == CONLLU[:2]
    is_extended = len(fields) > len(CONLLU) and fields[6].isdecimal()
    return len(fields) == len(CONLLU) or is_extended


def _default_token(
    lines: Sequence[str],
    *,
    names: Sequence[str],
    split: Callable[[str], list[str]],
    width: int,
) -> Column:
    named = [at for at, name in enumerate(names) if name in WORD_NAMES]
    if named:
        return named[0]
    return 1 if width > 2 and _first_counts(lines, split=split) else 0


def _default_tag(names: Sequence[str]) -> Column:
    if "upos" in names and "id" in names:
        return "upos"
    named = [at for at, name in enumerate(names) if name in TAG_NAMES]
    return named[-1] if named else -1


def _first_counts(lines: Sequence[str], *, split: Callable[[str], list[str]]) -> bool:
    """Whether the first of three or more columns just counts the words of each sentence from 0 or
    from 1: four of five do, and four of five of those that are not the first."""
    at = num = num_later = 0
    right, right_later = [0, 0], [0, 0]
    for line in lines:
        if not line or line.isspace() or is_docstart(line):
            at = 0
            continue
        fields = split(line)
        if line[0] == "#" or len(fields) < 3:
            continue
        for start in (0, 1):
            right[start] += fields[0] == str(at + start)
            right_later[start] += at > 0 and fields[0] == str(at + start)
        num, num_later, at = num + 1, num_later + (at > 0), at + 1
        if num == 20 and max(right) < 10:
            return False
    return any(
        num_later > 0 and right[start] >= 0.8 * num and right_later[start] >= 0.8 * num_later
        for start in (0, 1)
    )


def _index(column: Column, *, names: Sequence[str], place: str, setting: str) -> int:
    if isinstance(column, str) and re.fullmatch(r"-?[0-9]+", column):
        return int(column)
    if isinstance(column, int):
        return column
    if column.lower() in names:
        return names.index(column.lower())
    if not names:
        hint = "no line names its columns: give an index from 0"
    else:
        hint = nearest(column.lower(), names)
    raise UserError(f"{place}: no column {column!r} for data.{setting}; {hint}")


def _is_key(name: str, names: Sequence[str]) -> bool:
    return name.lower() not in names and not re.fullmatch(r"-?[0-9]+", name)


def _check_key(
    key: str,
    lines: Sequence[str],
    *,
    column: int,
    split: Callable[[str], list[str]],
    path: str | os.PathLike,
) -> None:
    keys = {
        item.partition("=")[0]
        for fields in _rest(lines, split)
        for item in (fields[column].split("|") if len(fields) > column else ())
    }
    if key not in keys:
        valid = [*CONLLU[1:6], *sorted(keys - {"_"})]
        raise UserError(
            f"{path}: no column and no key of MISC is {key!r} (data.tag_column); "
            f"{nearest(key, valid)}"
        )


def _comment_test(lines: Sequence[str], layout: Layout) -> Callable[[str], bool]:
    """Whether a line that begins with "#" where a sentence would begin is a comment."""

    def tag_of(line: str) -> str | None:
        fields = layout.split(line)
        is_like_others = len(fields) == layout.width > max(layout.tag, -layout.tag - 1)
        return fields[layout.tag].strip() if is_like_others else None

    @functools.cache
    def tags() -> set[str | None]:
        return {tag_of(line) for _, line in _data(lines)}

    def is_comment(line: str) -> bool:
        if not _COMMENT.match(line):
            return False
        tag = tag_of(line)
        return tag is None or not (_TAG_OF_HASH.fullmatch(tag) or tag in tags())

    return is_comment


def described(layout: Layout) -> dict[str, str]:
    separator = {"\t": "tabs", " ": "blanks"}.get(layout.separator, repr(layout.separator))
    name = lambda at: f" ({layout.names[at]})" if layout.names else ""  # noqa: E731
    key = f", its key {layout.key}" if layout.key else ""
    token, tag = layout.token, layout.tag
    return {
        "format": "CoNLL-U" if layout.is_conllu else "columns",
        "separator": separator,
        "columns": f"{layout.width}, words in {token}{name(token)}, tags in {tag}{name(tag)}{key}",
    }


def is_docstart(line: str) -> bool:
    return "-DOCSTART-" in line and re.search(r"(^|\s)-DOCSTART-", line) is not None
