"""Owns what annotation tools call the words, tags, texts and spans of a JSON record: Prodigy,
doccano, spaCy, and data sets of the Hugging Face hub.

What becomes of a record belongs to `records.py`; Label Studio's have `label_studio.py`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bigjax.data.text.column_layout import Column
from bigjax.data.text.cutting import Span
from bigjax.data.text.records import BLANK_WORDS, Record, check_tags, fitted
from bigjax.errors import UserError

WORD_KEYS = ("tokens", "words")
TAG_KEYS = ("tags", "ner_tags", "labels", "ner", "pos_tags", "upos")
TEXT_KEYS = ("text", "data", "content", "sentence")
SPAN_KEYS = ("spans", "entities", "label", "labels")
START_KEYS, END_KEYS = ("start", "start_offset", "begin"), ("end", "end_offset")
KIND_KEYS = ("label", "labels", "type", "entity", "entity_group")
UNITS = "spans counted in UTF-16, read as characters"
UNLABELLED = "unlabelled records left out"


def record(
    value: Any,
    *,
    token_column: Column = None,
    tag_column: Column = None,
    tag_names: Sequence[str] | None = None,
    place: str,
) -> Record:
    """A record of one of these forms, of which the first that fits is taken:

    - `tokens` (or `words`) with `tags` (`ner_tags`, ...), as many of both; tags are names, or
      numbers that `data.tag_names` names.
    - `text` with `spans` (`entities`, `label`, `labels`), each {start, end, label} or
      [start, end, label], in characters; also ["text", {"entities": [...]}].

    token_column, tag_column: the keys, where they are called otherwise or there are several.
    tag_names: that there are some lets tags be numbers, which stay so here.
    An `answer` of "reject" or "ignore" (Prodigy) is left out, and so is a record without tags or
    spans; an empty list of spans is a text without entities.

    UserError: neither form, tags that are not as many as words, spans that are none.
    """
    value = as_object(value)
    if not isinstance(value, dict):
        raise UserError(f"{place}: expected an object with tokens and tags, or text and spans")
    if value.get("answer") in ("reject", "ignore"):
        return Record(f"records with the answer {value['answer']!r} left out")
    words = _first(value, WORD_KEYS, column=token_column, kind=list, place=place)
    text = _first(value, TEXT_KEYS, column=token_column, kind=str, place=place)
    if words is not None and value[words] and all(isinstance(w, str) for w in value[words]):
        tags = _first(value, TAG_KEYS, column=tag_column, kind=list, place=place)
        if tags is not None:
            return _of_words(value, words, tags, named=tag_names is not None, place=place)
        if text is None:
            return Record(UNLABELLED)
    if text is not None:
        spans = _first(value, SPAN_KEYS, column=tag_column, kind=list, place=place)
        return Record(UNLABELLED) if spans is None else _of_text(value, text, spans, place=place)
    if words is not None and not value[words]:
        return Record("", words=())
    keys = ", ".join(map(repr, list(value)[:8]))
    raise UserError(
        f"{place}: expected 'tokens' with 'tags', or 'text' with 'spans', found the keys "
        f"{keys or 'of nothing'}; name them with data.token_column and data.tag_column"
    )


def as_object(value: Any) -> Any:
    """["text", {...}] as an object with a text; all else as it is."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict):
        return {"text": value[0], **value[1]}
    return value


def span_of(value: Any, *, text: str, place: str) -> tuple[Span, bool]:
    """A span of a text, and whether its offsets counted UTF-16 units and were changed.

    UserError: not {start, end, label} or [start, end, label].
    """
    said = None
    if isinstance(value, Mapping):
        found = [_value(value, keys) for keys in (START_KEYS, END_KEYS, KIND_KEYS)]
        said = value.get("text")
    elif isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3:
        found = list(value)
    else:
        found = [None] * 3
    start, end, kind = found
    if isinstance(kind, list) and len(kind) == 1:
        (kind,) = kind
    if type(start) is not int or type(end) is not int or not isinstance(kind, str):
        raise UserError(
            f"{place}: span {str(value)[:80]}; expected {{start, end, label}} or [start, end, "
            "label], with whole numbers and one label"
        )
    check_tags([kind], place=place)
    return fitted(Span(start, end, kind.strip()), text=text, said=said, place=place)


def _of_words(
    value: Mapping[str, Any], words: str, tags: str, *, named: bool, place: str
) -> Record:
    found, names = value[words], value[tags]
    if len(found) != len(names):
        raise UserError(f"{place}: {len(found)} {words} and {len(names)} {tags}; expected as many")
    if not named and any(type(tag) is int for tag in names):
        hint = "say what they mean with --config.data.tag_names=O,B-PER,I-PER,..."
        raise UserError(f"{place}: {tags!r} holds numbers; {hint}")
    names = [str(tag) if type(tag) is int else tag for tag in names]
    check_tags(names, place=place)
    kept = [i for i, word in enumerate(found) if word.strip()]
    return Record(
        f"'{words}' with '{tags}'",
        words=[found[i].strip() for i in kept],
        tags=[names[i].strip() for i in kept],
        notes=Counter({BLANK_WORDS: len(found) - len(kept)}),
    )


def _of_text(value: Mapping[str, Any], text: str, spans: str, *, place: str) -> Record:
    found = [span_of(span, text=value[text], place=place) for span in value[spans]]
    return Record(
        f"'{text}' with '{spans}'",
        text=value[text],
        spans=[span for span, _ in found],
        notes=Counter({UNITS: sum(changed for _, changed in found)}),
    )


def _first(
    value: Mapping[str, Any], keys: Sequence[str], *, column: Column, kind: type, place: str
) -> str | None:
    """The first of the keys that is there and not null, or the one that the user named; None where
    there is none, or its value is not of the kind. Spans that are no list are an error."""
    named = [column] if isinstance(column, str) and column in value else keys
    key = next((key for key in named if value.get(key) is not None), None)
    if key is None or isinstance(value[key], kind):
        return key
    if keys is SPAN_KEYS:
        raise UserError(f"{place}: {key!r} is {str(value[key])[:40]!r}; expected a list of spans")
    return None


def _value(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if key in value), None)
