"""Owns the format of column files: one word a line, its columns separated, its sentences by blank
lines; CoNLL-U among them.

Made for the user's own files, so whatever is malformed is an error that names file and line, and
what is left out is counted. Tagging schemes belong to `schemes.py`.
"""

import functools
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from bigjax.data.text.annotated import Annotated
from bigjax.errors import UserError, nearest

Column = int | str | None  # an index from 0 or from the end, a name, or by the file

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
WORD_NAMES = ("token", "tokens", "word", "words", "form", "text")
TAG_NAMES = (
    "tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "ner-tag", "entity", "entities",
    "iob", "bio", "ne", "named_entity", "pos", "pos_tag", "pos_tags", "upos", "xpos", "chunk",
)  # fmt: skip

COMMENTS, HEADER, DOCSTARTS = "comment lines", "header line", "-DOCSTART- lines"
RANGES, EMPTY_NODES = "multi-word ranges left out", "empty nodes left out"

# After "#": nothing, a blank, or a key; anything else may be a word that has lost its columns.
_COMMENT = re.compile(r"#(?:$|\s|[\w.-]+\s*[=:]|(?:begin|end)\s+document\b)")
_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
# Tags that a "#" may have, though no other word has them.
_TAG_OF_HASH = re.compile(r"O|[BIESLUMW]-.+|[^a-z0-9\s]+")


class _Layout(NamedTuple):
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


def parse(
    lines: Sequence[str],
    *,
    path: str | os.PathLike,
    token_column: Column = None,
    tag_column: Column = None,
    separator: str | None = None,
    kind: Literal["auto", "columns", "conllu"] = "auto",
) -> Annotated:
    """Sentences from the lines of a column file.

    token_column, tag_column: indexes from 0, negative from the end; or names, where the first line
    is a header or the file is CoNLL-U, whose MISC keys ("Entity") serve as well: a word without the
    key has the tag "O". None: FORM and UPOS in CoNLL-U, what a header calls so, else the first
    column that does not just count the words of a sentence, and the last. Where an index is
    negative or None, every line must have as many columns as the first: one lost or gained would
    shift it.
    separator: None decides by the first line of data: tabs if it has one, else runs of spaces. " "
    means runs of spaces; any other text is taken exactly. Words in tab-separated files may hold
    spaces.

    Lines with nothing but whitespace end a sentence, and so do -DOCSTART- lines. A line that begins
    with "#" where a sentence would begin is a comment, unless it has as many columns as the others
    and a tag that others have or that looks like one ("#<TAB>O" is a word). A first line that names the columns is a
    header. CoNLL-U is what has ten columns of which the first numbers the words: its multi-word
    ranges ("1-2") and empty nodes ("1.1") are no words.

    UserError: no sentence, too few or too many columns, no such column, an empty word or tag, words
    of CoNLL-U that are not numbered 1, 2, ...
    """
    if token_column is not None and token_column == tag_column:
        raise UserError(f"token_column and tag_column are both {tag_column}; expected two columns")
    if separator == "":
        raise UserError("separator is ''; expected a character, or None to decide by the file")
    layout = _layout(
        lines, path=path, token=token_column, tag=tag_column, separator=separator, kind=kind
    )
    return _read(lines, layout, path=path)


def _read(lines: Sequence[str], layout: _Layout, *, path: str | os.PathLike) -> Annotated:
    split, width, token, tag = layout.split, layout.width, layout.token, layout.tag
    value = _misc_value(layout.key) if layout.key else None
    words, tags, first_lines = [], [], []
    notes = defaultdict(list)
    known: dict[str, str] = {}  # one object for all that are equal
    inside, expected_id = False, 1
    for number, line in enumerate(lines, 1):
        if not line or line.isspace() or _is_docstart(line):
            if line and not line.isspace():
                notes[DOCSTARTS].append(number)
            inside, expected_id = False, 1
            continue
        if line[0] == "#" and (not inside or layout.is_conllu) and layout.is_comment(line):
            notes[COMMENTS].append(number)
            continue
        if number == layout.header:
            notes[HEADER].append(number)
            continue
        fields = split(line)
        if len(fields) != width or number == layout.first:
            _check_width(fields, layout, line=line, place=f"{path}:{number}")
        if layout.is_conllu:
            no_word = _conllu_id(fields[0], expected=expected_id, place=f"{path}:{number}")
            if no_word:
                notes[no_word].append(number)
                continue
            expected_id += 1
        word, label = fields[token].strip(" "), fields[tag].strip()
        if value is not None:
            label = value(label)
        if not word or not label:
            empty = "tag" if word else "word"
            raise UserError(f"{path}:{number}: the {empty} is empty in {line[:60]!r}")
        if not inside:
            words.append([])
            tags.append([])
            first_lines.append(number)
            inside = True
        words[-1].append(known.setdefault(word, word))
        tags[-1].append(known.setdefault(label, label))

    def line_of(sentence: int, index: int) -> int:
        if not layout.is_conllu:
            return first_lines[sentence] + index
        following = enumerate(lines[first_lines[sentence] - 1 :], first_lines[sentence])
        numbers = (n for n, line in following if line[:1] != "#" and split(line)[0].isdecimal())
        return next(n for i, n in enumerate(numbers) if i == index)

    return Annotated(words, tags, first_lines, line_of, _described(layout), notes)


def _is_docstart(line: str) -> bool:
    return "-DOCSTART-" in line and re.search(r"(^|\s)-DOCSTART-", line) is not None


def _check_width(fields: list[str], layout: _Layout, *, line: str, place: str) -> None:
    """UserError where a line has not the columns that the first line of data lets expect."""
    token, tag, found = layout.token, layout.tag, len(fields)
    least = max(2, *(index + 1 if index >= 0 else -index for index in (token, tag)))
    expected = None
    if found != layout.width and min(token, tag) < 0:
        expected = f"{layout.width} columns"
    elif found < least:
        expected = f"{least} columns or more"
    elif token % found == tag % found:
        expected = f"token_column={token} and tag_column={tag} to be different columns"
    if expected:
        as_before = "" if place.endswith(f":{layout.first}") else f" as on line {layout.first}"
        raise UserError(f"{place}: expected {expected}{as_before}, found {found} in {line[:60]!r}")


def _conllu_id(text: str, *, expected: int, place: str) -> str | None:
    """None for the number of a word, else what the line is instead."""
    if text == str(expected):
        return None
    if re.fullmatch(r"[0-9]+-[0-9]+", text):
        return RANGES
    if re.fullmatch(r"[0-9]+\.[0-9]+", text):
        return EMPTY_NODES
    raise UserError(
        f"{place}: expected the word with ID {expected}, found {text[:20]!r}: a line is missing, "
        "doubled or out of order, or there is no blank line between sentences"
    )


def _misc_value(key: str) -> Callable[[str], str]:
    """A field "A=x|B=y" to the value of `key`, or "O"."""

    @functools.lru_cache(maxsize=1 << 16)
    def value(field: str) -> str:
        pairs = (item.partition("=") for item in field.split("|"))
        return next((found for name, _, found in pairs if name == key), "O")

    return value


# --- what a file holds ---


def _layout(
    lines: Sequence[str],
    *,
    path: str | os.PathLike,
    token: Column,
    tag: Column,
    separator: str | None,
    kind: str,
) -> _Layout:
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
    by_itself = len(fields) == len(CONLLU) or names[:2] == CONLLU[:2]
    by_itself &= re.fullmatch(r"[0-9]+([-.][0-9]+)?", fields[0]) is not None
    is_conllu = kind == "conllu" or (kind == "auto" and by_itself)
    if is_conllu and not names:
        names = CONLLU
        if len(fields) != len(CONLLU):
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
    layout = _Layout(
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
        if line and not line.isspace() and not _is_docstart(line):
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
        if not line or line.isspace() or _is_docstart(line):
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


def _comment_test(lines: Sequence[str], layout: _Layout) -> Callable[[str], bool]:
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


def _described(layout: _Layout) -> dict[str, str]:
    separator = {"\t": "tabs", " ": "blanks"}.get(layout.separator, repr(layout.separator))
    name = lambda at: f" ({layout.names[at]})" if layout.names else ""  # noqa: E731
    key = f", its key {layout.key}" if layout.key else ""
    token, tag = layout.token, layout.tag
    return {
        "format": "CoNLL-U" if layout.is_conllu else "columns",
        "separator": separator,
        "columns": f"{layout.width}, words in {token}{name(token)}, tags in {tag}{name(tag)}{key}",
    }
