"""Owns what one setting is: a keyword-only argument with its type, default, limits and one line of
help, all written where it is; and reading a value, or an override's text, as one.

    patience: Annotated[int | None, AtLeast(1), "evaluations without a better score ..."] = None

The argument is a function's, or the field of a frozen keyword-only dataclass.
"""

import ast
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from bigjax.errors import UserError, nearest

REQUIRED = inspect.Parameter.empty


class AtLeast(NamedTuple):
    """Every number of the value is `low` or more."""

    low: float
    high = math.inf

    def __str__(self) -> str:
        return f"{self.low} or more"


class Between(NamedTuple):
    """Every number of the value is from `low` to `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"from {self.low} to {self.high}"


class Field(NamedTuple):
    """kind: the type, such as `int | None`; default: REQUIRED where there is none."""

    kind: Any
    default: Any = REQUIRED
    limits: AtLeast | Between | None = None
    help: str = ""


@functools.cache
def fields_of(taker: Callable[..., Any]) -> Mapping[str, Field]:
    """The settings that a function or dataclass takes: its keyword-only arguments whose annotation
    is a plain type. Others (arrays, functions) come from the program."""
    kinds = typing.get_type_hints(taker)
    notes = typing.get_type_hints(taker, include_extras=True)
    return {
        p.name: _field(kinds[p.name], getattr(notes[p.name], "__metadata__", ()), p.default)
        for p in inspect.signature(taker).parameters.values()
        if p.kind == p.KEYWORD_ONLY and p.name in kinds and _is_plain(kinds[p.name])
    }


def _field(kind: Any, notes: tuple[Any, ...], default: Any) -> Field:
    limits = [note for note in notes if isinstance(note, (AtLeast, Between))]
    lines = [note for note in notes if isinstance(note, str)]
    return Field(kind, default, limits[-1] if limits else None, lines[-1] if lines else "")


def _is_plain(kind: Any) -> bool:
    if typing.get_origin(kind) in (typing.Union, types.UnionType, tuple):
        return all(_is_plain(a) for a in typing.get_args(kind) if a is not Ellipsis)
    if typing.get_origin(kind) is Literal:
        return True
    return kind in (str, int, float, bool, type(None))


def parse(text: str, field: Field, *, place: str) -> Any:
    """An override's text as a value of the setting.

    Raises:
      UserError: as `check`.
    """
    options = _options(field.kind)
    if type(None) in options and text.lower() == "none":
        return None
    kinds = {typing.get_origin(option) or option for option in options}
    is_tuple = tuple in kinds and text[:1] in ("(", "[")
    is_number = bool(kinds & {tuple, int}) and text[:1] in "([-0123456789"
    if (str in kinds and not is_tuple) or (Literal in kinds and not is_number):
        return check(text, field, place=place)
    if bool in options and text.lower() in ("true", "false", "1", "0"):
        return text.lower() in ("true", "1")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if tuple in kinds and str not in kinds and not isinstance(value, (tuple, list)):
        one = (value,)  # a number
        fits = _convert(one, field.kind) is not _MISMATCH
        value = one if fits else tuple(part.strip() for part in text.split(","))
    is_whole = isinstance(value, float) and value.is_integer()
    if is_whole and int in options and float not in options:
        value = int(value)  # 1e3
    return check(value, field, place=place)


def check(value: Any, field: Field, *, place: str) -> Any:
    """The value as the setting's type (an int serves as a float, a list as a tuple).

    Raises:
      UserError: another type, or a number outside the limits; begins with `place`.
    """
    converted = _convert(value, field.kind)
    if converted is _MISMATCH:
        options = _options(field.kind)
        choices = [c for o in options for c in typing.get_args(o) if isinstance(c, str)]
        near = nearest(str(value), choices)
        hint = f"; {near}" if near.startswith("did") else ""
        kind = type(value).__name__
        raise UserError(f"{place}={value!r} is {kind}; expected {describe(field.kind)}{hint}")
    numbers, limits = list(_numbers(converted)), field.limits
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise UserError(f"{place}={value!r}: expected a finite number")
    if limits and not all(limits.low <= number <= limits.high for number in numbers):
        others = [option for option in _options(field.kind) if not _holds_numbers(option)]
        expected = f"each number {limits}" if isinstance(converted, tuple) else str(limits)
        expected += "".join(f", or {describe(option)}" for option in others)
        raise UserError(f"{place}={value!r}: expected {expected}")
    return converted


def describe(kind: Any) -> str:
    """A type as a user reads it."""
    if typing.get_origin(kind) is Literal:
        values = ", ".join(map(repr, typing.get_args(kind)))
        return f"one of {values}" if len(typing.get_args(kind)) > 1 else values
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(describe(option) for option in typing.get_args(kind))
    if kind is type(None):
        return "None"
    shown = str(kind).replace("typing.", "")
    return shown if typing.get_args(kind) else getattr(kind, "__name__", str(kind))


_MISMATCH = object()


def _convert(value: Any, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        found = (_convert(value, option) for option in arguments)
        return next((item for item in found if item is not _MISMATCH), _MISMATCH)
    if origin is Literal:
        return value if value in arguments else _MISMATCH
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return _MISMATCH
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            return _MISMATCH
        items = [_convert(item, kind) for item, kind in zip(value, kinds)]
        return _MISMATCH if any(item is _MISMATCH for item in items) else tuple(items)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) and kind is not bool:
        return _MISMATCH
    return value if isinstance(value, kind) else _MISMATCH


def _options(kind: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if is_union else (kind,)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def _holds_numbers(kind: Any) -> bool:
    return kind in (int, float) or any(map(_holds_numbers, typing.get_args(kind)))
