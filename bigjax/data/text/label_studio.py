"""Owns the JSON that Label Studio exports: tasks with a text and the annotations of several people.

Its CoNLL export loses labels, which is why this one is read. What becomes of a record belongs to
`records.py`.

Source: https://labelstud.io/guide/export (JSON)
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bigjax.data.text.column_layout import Column
from bigjax.data.text.json_records import UNITS, UNLABELLED, span_of
from bigjax.data.text.records import Record
from bigjax.errors import UserError

Annotations = Literal["one", "first", "last", "ground_truth"]
CANCELLED = "tasks whose annotations are all cancelled left out"
NO_TRUTH = "tasks without an annotation that is ground truth left out"
CANCELLED_ONES = "cancelled annotations of other tasks"
OTHER_KINDS = "results that are no spans (choices, relations, ...)"
_PLACE = re.compile(r"\S*[/\\]\S*")  # of an image or the like: no blanks, and a slash


def is_task(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("data"), dict)


def record(
    value: Any,
    *,
    annotations: Annotations,
    token_column: Column = None,
    place: str,
) -> Record:
    """A task as a text with spans.

    annotations: which of several that are not cancelled: "one" has it that there is one at most;
      "first" and "last" go by the order of the file; "ground_truth" takes the one marked so.
    token_column: the key of the text in `data`, where it holds several.

    A task without annotations is left out, and so is one whose annotations are all cancelled; an
    annotation without results is a text without entities.

    UserError: several annotations and no choice, spans that are none, no text.
    """
    if not is_task(value):
        raise UserError(f"{place}: expected a task of Label Studio, with 'data' and 'annotations'")
    found = value.get("annotations", value.get("completions")) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UserError(f"{place}: 'annotations' is {str(found)[:40]!r}; expected a list of them")
    kept = [one for one in found if not one.get("was_cancelled")]
    if not kept:
        return Record(CANCELLED if found else UNLABELLED)
    if annotations == "ground_truth":
        kept = [one for one in kept if one.get("ground_truth")]
        if not kept:
            return Record(NO_TRUTH)
    if len(kept) > 1 and annotations not in ("first", "last"):
        raise UserError(
            f"{place}: {len(kept)} annotations of task {value.get('id')}; choose with "
            "data.annotations='first', 'last' or 'ground_truth'"
        )
    chosen = kept[-1 if annotations == "last" else 0]
    text = _text(value["data"], token_column=token_column, place=place)
    results = chosen.get("result") or []
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise UserError(f"{place}: 'result' is {str(results)[:40]!r}; expected a list of spans")
    values = [one.get("value") for one in results]
    spans = [_span(one, text=text, place=place) for one in values if _is_span(one)]
    notes = Counter(
        {
            CANCELLED_ONES: len(found) - sum(not one.get("was_cancelled") for one in found),
            OTHER_KINDS: len(values) - len(spans),
            UNITS: sum(changed for _, changed in spans),
        }
    )
    return Record(
        "tasks with a text and an annotation",
        text=text,
        spans=[span for span, _ in spans],
        notes=notes,
    )


def _is_span(value: Any) -> bool:
    return isinstance(value, dict) and ("start" in value or "labels" in value)


def _span(value: Mapping[str, Any], *, text: str, place: str) -> Any:
    inside = value.get("globalOffsets")  # of HTML, where start and end are paths
    if isinstance(value.get("start"), str) and isinstance(inside, dict):
        value = {**value, "start": inside.get("start"), "end": inside.get("end")}
    return span_of(value, text=text, place=place)


def _text(data: Mapping[str, Any], *, token_column: Column, place: str) -> str:
    texts: Sequence[str] = [key for key, value in data.items() if isinstance(value, str)]
    one = texts if len(texts) == 1 and not _PLACE.fullmatch(data[texts[0]]) else ()
    for key in (token_column, "text", *one):
        if isinstance(key, str) and isinstance(data.get(key), str):
            return data[key]
    found = ", ".join(map(repr, data)) or "nothing"
    raise UserError(
        f"{place}: 'data' holds {found}; expected a text: name it with data.token_column"
    )
