"""Owns a run's settings: given by a config file, overridden, checked against the functions that
take them, and recorded with where each came from.

Running the file is `file.py`'s, what one setting is `fields.py`'s, who takes which `choices.py`'s.
"""

import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from bigjax.config import file, ranges
from bigjax.config.choices import Choice, Given, NoSuchChoice, Schema, dotted, fields_in
from bigjax.config.fields import REQUIRED, Field, check, describe, fields_of, parse
from bigjax.errors import UserError, nearest

T = TypeVar("T")
FindSchema = Callable[[Given], Schema]


class Config(NamedTuple):
    """values: section -> key -> value, every default filled in; section "" holds the top level.
    origins: dotted key -> "file", "variant", "override" or "default".
    file: what `--config` named, with the variant.
    schema: section -> the functions and dataclasses that take it.
    space: dotted key -> the range that a search draws it from; every other mode ignores it.
    """

    values: dict[str, dict[str, Any]]
    origins: dict[str, str]
    file: str
    schema: Schema
    space: Mapping[str, ranges.Range] = types.MappingProxyType({})

    def of(self, taker: Callable[..., T] | Choice[T], **rest: Any) -> T:
        """What comes of calling a taker of a section with its settings: an instance of a dataclass
        (`config.of(Evaluation).patience`), what a function returns, or the one that was chosen
        (`config.of(SOURCE)`). `rest`: arguments that are no settings.
        """
        section = next((name for name, takers in self.schema.items() if taker in takers), None)
        assert section is not None, f"{taker} takes no section of this config"
        values = self.values[section]
        if isinstance(taker, Choice):
            taker = taker.among[values[taker.name]]
        return taker(**{key: values[key] for key in fields_of(taker)}, **rest)

    def flat(self) -> dict[str, Any]:
        """Dotted key to value, in order."""
        return {
            dotted(section, key): value
            for section, values in self.values.items()
            for key, value in values.items()
        }

    def given(self) -> dict[str, Any]:
        """Those of them that are no defaults."""
        return {k: value for k, value in self.flat().items() if self.origins[k] != "default"}

    def fields(self) -> dict[str, Field]:
        """Dotted key to what the setting is."""
        return _fields(self.schema)

    def record(self) -> dict[str, Any]:
        """What the run folder keeps, ready for JSON, which is all but the space; `from_record`
        reads it."""
        return {"values": self.flat(), "origins": self.origins, "file": self.file}


def load(spec: str, *, overrides: Mapping[str, str], schema: FindSchema) -> Config:
    """The checked settings of `FILE[:VARIANT]` with overrides (dotted key -> text) on top.

    Args:
      schema: from the settings as given (section -> key -> value; overrides still text) to the
        functions that take each section. It may raise NoSuchChoice.
    Raises:
      UserError: names the key, where it was written, and the nearest valid one.
    """
    given = file.read(spec)
    return _resolve(
        given.values,
        origins=given.origins,
        overrides=overrides,
        schema=schema,
        place=given.place,
        file=spec,
    )


def from_record(
    record: Mapping[str, Any],
    *,
    path: str,
    overrides: Mapping[str, str],
    schema: FindSchema,
) -> Config:
    """The settings of an earlier run from what `Config.record` kept of them, with overrides.

    Defaults are those of that run, also where a newer version has others. A default that nothing
    reads any more, because an override chose otherwise, is no mistake.

    Raises:
      UserError: as `load`; or `record`, read from `path`, is not what `Config.record` gives.
    """
    try:
        values, origins, file = (record[name] for name in ("values", "origins", "file"))
        given = {key: value for key, value in values.items() if origins[key] != "default"}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is damaged, expected the settings of a run; use another --workdir"
        ) from error
    return _resolve(
        given,
        origins=origins,
        overrides=overrides,
        schema=schema,
        place=lambda key: f"{path}: config.{key}",
        file=file,
        defaults={key: value for key, value in values.items() if key not in given},
    )


def _resolve(
    given: Mapping[str, Any],
    *,
    origins: Mapping[str, str],
    overrides: Mapping[str, str],
    schema: FindSchema,
    place: Callable[[str], str],
    file: str,
    defaults: Mapping[str, Any] = types.MappingProxyType({}),
) -> Config:
    overridden = overrides.keys()
    shown = lambda key: f"--config.{key}" if key in overridden else place(key)  # noqa: E731
    written = {**given, **overrides}
    given, overrides = ranges.settings_of(given), ranges.settings_of(overrides)
    raw: dict[str, dict[str, Any]] = {"": {}}
    for key, value in {**defaults, **given, **overrides}.items():
        section, _, name = key.rpartition(".")
        raw.setdefault(section, {})[name] = value
    try:
        takers = schema(raw)
    except NoSuchChoice as error:
        is_set = error.key in {**given, **overrides}
        where = shown(error.key) if is_set else f"{file}: config.{error.key}"
        raise UserError(where + error.problem) from error
    for key in [*given, *overrides]:
        if f"{key}." == ranges.PREFIX:
            raise UserError(f"{shown(key)}: expected a range for each setting, {ranges.EXAMPLE}")
        _check_is_read(key, takers=takers, shown=shown(key))

    values: dict[str, dict[str, Any]] = {section: {} for section in takers}
    final_origins: dict[str, str] = {}
    for key, field in _fields(takers).items():
        if key in overrides:
            value, origin = parse(overrides[key], field, place=shown(key)), "override"
        elif key in given:
            value, origin = check(given[key], field, place=place(key)), origins[key]
        elif key in defaults:
            value, origin = check(defaults[key], field, place=place(key)), "default"
        elif field.default is not REQUIRED:
            value, origin = field.default, "default"
        else:
            raise UserError(
                f"{file}: config.{key} is not set; expected {describe(field.kind)} "
                f"(give it in the file or with --config.{key}=VALUE)"
            )
        section, _, name = key.rpartition(".")
        values[section][name], final_origins[key] = value, origin
    return Config(values, final_origins, file, takers, _space(written, takers, shown=shown))


def _space(
    written: Mapping[str, Any], takers: Schema, *, shown: Callable[[str], str]
) -> dict[str, ranges.Range]:
    """The ranges among what the file and the command line give."""
    fields, found = _fields(takers), {}
    for key, value in sorted(written.items()):
        if key.startswith(ranges.PREFIX):
            of = key.removeprefix(ranges.PREFIX)
            if of == "task" or of.startswith("search."):
                raise UserError(f"{shown(key)}: it is the same in all trials of a search")
            _check_is_read(of, takers=takers, shown=shown(key))
            found[of] = ranges.read(value, fields[of], place=shown(key))
    return {key: one for key, one in found.items() if one is not None}


def _fields(takers: Schema) -> dict[str, Field]:
    return {
        dotted(section, name): field
        for section, some in takers.items()
        for name, field in fields_in(some).items()
    }


def _check_is_read(key: str, *, takers: Schema, shown: str) -> None:
    section, _, name = key.rpartition(".")
    everywhere = _fields(takers)
    if key in everywhere:
        return
    if section not in takers:
        near = nearest(key, everywhere)
        if not near.startswith("did"):
            near = "sections: " + ", ".join(sorted(filter(None, takers)))
        raise UserError(f"{shown}: there is no such setting; {near}")
    near = nearest(name, fields_in(takers[section]))
    # A key in the wrong section is more likely meant than a far one in the right section.
    elsewhere = [other for other in everywhere if other.rpartition(".")[2] == name]
    if elsewhere and not near.startswith("did"):
        near = f"did you mean {elsewhere[0]!r}?"
    of_others = [
        f"it is a setting of {dotted(section, choice.name)}={value!r}"
        for choice in takers[section]
        if isinstance(choice, Choice)
        for value, taker in choice.among.items()
        if name in fields_of(taker)
    ]
    near = of_others[0] if of_others else near
    readers = " and ".join(t.__name__ for t in takers[section] if not isinstance(t, Choice))
    raise UserError(f"{shown}: nothing reads it (the section is for {readers}); {near}")


def parse_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """`--config.a.b=VALUE` and `--config.a.b VALUE` arguments as {"a.b": "VALUE"}.

    Raises:
      UserError: an argument of another form, or one without a value.
    """
    overrides: dict[str, str] = {}
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        match = re.fullmatch(r"--config\.([A-Za-z_][\w.]*)(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            raise UserError(
                f"unknown argument {argument!r}; settings are given as --config.KEY=VALUE, and "
                "--help lists the flags"
            )
        key, value = match.groups()
        if value is None:
            if not remaining or remaining[0].startswith("--"):
                raise UserError(f"{argument}: a value is missing; write {argument}=VALUE")
            value = remaining.pop(0)
        overrides[key] = value
    return overrides
