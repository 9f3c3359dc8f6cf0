"""Owns ranges of settings, which a search draws from: how they are written and what they mean.

    config.search.space = {
        "optim": {"learning_rate": ("log", 1e-5, 1e-3), "name": ("choice", "adam", "sgd")},
        "batch": {"rows": ("choice", 16, 32, 64)},
    }

or on the command line `--config.search.space.optim.learning_rate=log,1e-5,1e-3`. Under
`search.space` stand the settings themselves. What of a range is drawn belongs to the room `search`.
"""

import ast
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bigjax.config.fields import Field, check, parse
from bigjax.errors import UserError, nearest

PREFIX = "search.space."
KINDS = ("log", "uniform", "choice")
EXAMPLE = "such as --config.search.space.optim.learning_rate=log,1e-5,1e-3"
_EXPECTED = "('log', LOW, HIGH), ('uniform', LOW, HIGH) or ('choice', VALUE, VALUE, ...)"


class Range(NamedTuple):
    """kind: "log" and "uniform": from values[0] to values[1], both included, drawn evenly in the
    logarithm or as they are; "choice": one of the values.
    is_whole: only whole numbers, as the setting's type asks for; of no meaning for a choice.
    """

    kind: str
    values: tuple[Any, ...]
    is_whole: bool = False


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` without the ranges in it."""
    return {key: value for key, value in given.items() if not key.startswith(PREFIX)}


def read(value: Any, field: Field, *, place: str) -> Range | None:
    """The range of a setting as it is written; None: it is not to be searched.

    Args:
      value: a tuple as in a config file, or an override's text.
    Raises:
      UserError: it is no range, or one of its values is none of the setting; begins with `place`.
    """
    is_text = isinstance(value, str)
    parts = _parts(value) if is_text else value
    if parts is None:
        return None
    if not isinstance(parts, (tuple, list)) or not parts or not isinstance(parts[0], str):
        raise UserError(f"{place}={value!r}: expected {_EXPECTED}")
    kind, *ends = parts
    if kind not in KINDS:
        raise UserError(f"{place}={value!r}: there is no range {kind!r}; {nearest(kind, KINDS)}")
    values = tuple(
        parse(end, field, place=place) if is_text and isinstance(end, str)
        else check(end, field, place=place)
        for end in ends
    )  # fmt: skip
    if kind == "choice":
        if not values or len({repr(found) for found in values}) < len(values):
            raise UserError(f"{place}={value!r}: expected one value or more, each once")
        return Range(kind, values)
    _check_ends(kind, values, field, shown=f"{place}={value!r}")
    kinds = _options(field.kind)
    return Range(kind, values, is_whole=float not in kinds)


def _check_ends(kind: str, values: Sequence[Any], field: Field, *, shown: str) -> None:
    if not {int, float} & set(_options(field.kind)):
        raise UserError(f"{shown}: the setting is no number; expected ('choice', VALUE, ...)")
    is_number = [isinstance(x, (int, float)) and not isinstance(x, bool) for x in values]
    if is_number != [True, True] or not values[0] < values[1]:
        raise UserError(f"{shown}: expected two numbers, ('{kind}', LOW, HIGH), LOW below HIGH")
    if kind == "log" and values[0] <= 0:
        raise UserError(f"{shown}: expected LOW above 0, as it is drawn evenly in the logarithm")


def _parts(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return tuple(part.strip() for part in text.split(","))


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) or (kind,)
