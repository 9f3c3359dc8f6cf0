"""Owns the sections of the config: which functions take each, also where another setting decides.

A section is taken by one or a few functions or dataclasses; each setting of it is an argument of
one of them (`fields.py`). So a key that nothing reads, a misspelt one and one that only another
choice would read are errors before anything runs.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from bigjax.config.fields import REQUIRED, Field, fields_of
from bigjax.errors import UserError, nearest

T = TypeVar("T")
Taker = Callable[..., Any]
Given = Mapping[str, Mapping[str, Any]]  # section -> key -> value; an override's is still text


@dataclasses.dataclass(frozen=True, eq=False)
class Choice(Generic[T]):
    """A setting whose value names the function that takes more keys of its section.

    name: the key. among: value -> function, looked up when it is asked for.
    help: as of any setting. default: None where the user has to choose.
    """

    name: str
    among: Mapping[str, Callable[..., T]]
    help: str
    default: str | None = None

    @property
    def field(self) -> Field:
        default = REQUIRED if self.default is None else self.default
        return Field(Literal[tuple(self.among)], default, help=self.help)


@dataclasses.dataclass(frozen=True, eq=False)
class IfNone:
    """A function that takes a section only where the setting `key` ("init.checkpoint") is None,
    which is that setting's default."""

    key: str
    taker: Taker


Sections = Mapping[str, Sequence[Taker | Choice[Any] | IfNone]]  # "" is the top level
Schema = Mapping[str, Sequence[Taker | Choice[Any]]]


def with_more(sections: Sections, more: Sections) -> Sections:
    """Both; a section of both has the takers of either."""
    return {**sections, **{k: [*sections.get(k, ()), *takers] for k, takers in more.items()}}


class NoSuchChoice(UserError):
    """key: the setting; problem: what is wrong with its value, without the place."""

    def __init__(self, key: str, problem: str):
        super().__init__(f"config.{key}{problem}")
        self.key, self.problem = key, problem


def schema_of(sections: Sections, given: Given) -> Schema:
    """Who takes each section under the choices made in `given`.

    Raises:
      NoSuchChoice: names the nearest.
    """

    def chosen(section: str) -> Iterator[Taker | Choice[Any]]:
        for taker in sections[section]:
            if isinstance(taker, IfNone):
                other, _, name = taker.key.rpartition(".")
                if str(given.get(other, {}).get(name)).lower() == "none":
                    yield taker.taker
                continue
            yield taker
            if isinstance(taker, Choice):
                key = dotted(section, taker.name)
                yield taker.among[choose(given, key, among=taker.among, default=taker.default)]

    return {section: list(chosen(section)) for section in sections}


def choose(given: Given, key: str, *, among: Mapping[str, Any], default: str | None = None) -> str:
    """The value of a setting that is a key of `among`.

    Raises:
      NoSuchChoice: it is none; names the nearest.
    """
    section, _, name = key.rpartition(".")
    value = given.get(section, {}).get(name, default)
    if isinstance(value, str) and value in among:
        return value
    problem = f"={value!r}: " if name in given.get(section, {}) else " is not set; "
    raise NoSuchChoice(key, problem + nearest(str(value or ""), among))


def fields_in(takers: Sequence[Taker | Choice[Any]]) -> dict[str, Field]:
    """Every setting of a section, by key. The function that a choice chose may take it as well."""
    fields: dict[str, Field] = {}
    for taker in takers:
        more = {taker.name: taker.field} if isinstance(taker, Choice) else fields_of(taker)
        fields |= {key: field for key, field in more.items() if key not in fields}
    return fields


def dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key
