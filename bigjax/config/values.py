"""Owns a run's settings: given by a config file, overridden, checked against the functions that
take them, and recorded with where each came from. Running the file is `config_file.py`'s.

A section of the config is the keyword-only arguments of the functions (or dataclasses) that take
it, with their annotations and defaults. So a key that nothing reads, a misspelt one and one of the
wrong type are errors before anything runs. Which functions those are belongs to `settings.py`.
"""

import ast
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from bigjax.config import file
from bigjax.errors import UserError, nearest

Schema = Mapping[str, Sequence[Callable[..., Any]]]


class Config(NamedTuple):
    """values: section -> key -> value, every default filled in; section "" holds the top level.
    origins: dotted key -> "file", "variant", "override" or "default".
    file: what `--config` named, with the variant.
    """

    values: dict[str, dict[str, Any]]
    origins: dict[str, str]
    file: str

    def __getitem__(self, section: str) -> dict[str, Any]:
        return self.values[section]

    def pick(self, section: str, fn: Callable[..., Any]) -> dict[str, Any]:
        """The keys of `section` that are arguments of `fn`."""
        return {k: v for k, v in self.values[section].items() if k in _parameters(fn)}

    def flat(self) -> dict[str, Any]:
        """Dotted key to value, in order."""
        return {
            _dotted(section, key): value
            for section, values in self.values.items()
            for key, value in values.items()
        }

    def record(self) -> dict[str, Any]:
        """What the run folder keeps, ready for JSON; `from_record` reads it."""
        return {"values": self.flat(), "origins": self.origins, "file": self.file}


def load(
    spec: str, *, overrides: Mapping[str, str], schema: Callable[[dict[str, Any]], Schema]
) -> Config:
    """The checked settings of `FILE[:VARIANT]` with overrides (dotted key -> text) on top.

    Args:
      schema: from the settings as given (section -> key -> value; overrides still text) to the
        functions that take each section. It may raise UserError, for example for an unknown task.
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
    schema: Callable[[dict[str, Any]], Schema],
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
    schema: Callable[[dict[str, Any]], Schema],
    place: Callable[[str], str],
    file: str,
    defaults: Mapping[str, Any] = types.MappingProxyType({}),
) -> Config:
    shown = lambda key: f"--config.{key}" if key in overrides else place(key)  # noqa: E731
    raw: dict[str, dict[str, Any]] = {"": {}}
    for key, value in [*given.items(), *overrides.items()]:
        section, _, name = key.rpartition(".")
        raw.setdefault(section, {})[name] = value
    takers = schema(raw)
    for key in [*given, *overrides]:
        _check_is_read(key, takers=takers, shown=shown(key))

    values: dict[str, dict[str, Any]] = {}
    final_origins: dict[str, str] = {}
    for section, fns in takers.items():
        values[section] = {}
        for name, (annotation, default) in _all_parameters(fns).items():
            key = _dotted(section, name)
            if key in overrides:
                value, origin = _parse(overrides[key], annotation, place=shown(key)), "override"
            elif key in given:
                value, origin = _check(given[key], annotation, place=place(key)), origins[key]
            elif key in defaults:
                value, origin = _check(defaults[key], annotation, place=place(key)), "default"
            elif default is not inspect.Parameter.empty:
                value, origin = default, "default"
            else:
                raise UserError(
                    f"{file}: config.{key} is not set; expected {_describe(annotation)} "
                    f"(give it in the file or with --config.{key}=VALUE)"
                )
            values[section][name], final_origins[key] = value, origin
    return Config(values, final_origins, file)


def _check_is_read(key: str, *, takers: Schema, shown: str) -> None:
    section, _, name = key.rpartition(".")
    if section in takers and name in _all_parameters(takers[section]):
        return
    everywhere = [_dotted(s, k) for s, fns in takers.items() for k in _all_parameters(fns)]
    if section not in takers:
        near = nearest(key, everywhere)
        if not near.startswith("did"):
            near = "sections: " + ", ".join(sorted(filter(None, takers)))
        raise UserError(f"{shown}: there is no such setting; {near}")
    near = nearest(name, _all_parameters(takers[section]))
    # A key in the wrong section is more likely meant than a far one in the right section.
    elsewhere = [other for other in everywhere if other.rpartition(".")[2] == name]
    if elsewhere and not near.startswith("did"):
        near = f"did you mean {elsewhere[0]!r}?"
    readers = " and ".join(fn.__name__ for fn in takers[section])
    raise UserError(f"{shown}: nothing reads it (the section is for {readers}); {near}")


def choice(
    values: Mapping[str, Mapping[str, Any]],
    key: str,
    *,
    among: Iterable[str],
    default: str | None = None,
) -> str:
    """The value of a setting on which the functions that take others depend, for a `schema`.

    Raises:
      UserError: it is none of `among`; names the nearest.
    """
    section, _, name = key.rpartition(".")
    value = values.get(section, {}).get(name, default)
    valid = list(among)
    if value not in valid:
        raise UserError(f"config.{key}={value!r}: {nearest(str(value), valid)}")
    return value


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


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _all_parameters(fns: Sequence[Callable[..., Any]]) -> dict[str, tuple[Any, Any]]:
    return {name: value for fn in fns for name, value in _parameters(fn).items()}


def _parameters(fn: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """The settings that a function takes: its keyword-only arguments whose annotation is a plain
    type. Others (arrays, functions) come from the program."""
    hints = typing.get_type_hints(fn)
    return {
        p.name: (hints[p.name], p.default)
        for p in inspect.signature(fn).parameters.values()
        if p.kind == p.KEYWORD_ONLY and p.name in hints and _is_plain(hints[p.name])
    }


def _is_plain(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple):
        return all(_is_plain(a) for a in typing.get_args(annotation) if a is not Ellipsis)
    if typing.get_origin(annotation) is Literal:
        return True
    return annotation in (str, int, float, bool, type(None))


def _parse(text: str, annotation: Any, *, place: str) -> Any:
    """An override's text as a value of the annotated type."""
    options = _options(annotation)
    if type(None) in options and text.lower() == "none":
        return None
    kinds = {typing.get_origin(option) or option for option in options}
    is_number = bool(kinds & {tuple, int}) and text[:1] in "([-0123456789"
    if str in kinds or (Literal in kinds and not is_number):
        return _check(text, annotation, place=place)
    if bool in options and text.lower() in ("true", "false", "1", "0"):
        return text.lower() in ("true", "1")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if any(typing.get_origin(o) is tuple for o in options) and not isinstance(value, (tuple, list)):
        value = tuple(part.strip() for part in text.split(","))
    is_whole = isinstance(value, float) and value.is_integer()
    if is_whole and int in options and float not in options:
        value = int(value)  # 1e3
    return _check(value, annotation, place=place)


def _check(value: Any, annotation: Any, *, place: str) -> Any:
    """The value as the annotated type (an int serves as a float, a list as a tuple)."""
    for option in _options(annotation):
        converted = _convert(value, option)
        if converted is not _MISMATCH:
            return converted
    choices = [c for o in _options(annotation) for c in typing.get_args(o) if isinstance(c, str)]
    hint = f"; {nearest(value, choices)}" if choices and isinstance(value, str) else ""
    kind = type(value).__name__
    raise UserError(f"{place}={value!r} is {kind}; expected {_describe(annotation)}{hint}")


_MISMATCH = object()


def _convert(value: Any, option: Any) -> Any:
    origin, arguments = typing.get_origin(option), typing.get_args(option)
    if origin is Literal:
        return value if value in arguments else _MISMATCH
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return _MISMATCH
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            return _MISMATCH
        items = [_first_match(item, kind) for item, kind in zip(value, kinds)]
        return _MISMATCH if any(item is _MISMATCH for item in items) else tuple(items)
    if option is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) and option is not bool:
        return _MISMATCH
    return value if isinstance(value, option) else _MISMATCH


def _first_match(value: Any, annotation: Any) -> Any:
    found = (_convert(value, option) for option in _options(annotation))
    return next((item for item in found if item is not _MISMATCH), _MISMATCH)


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _describe(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(annotation)))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(annotation))
    if annotation is type(None):
        return "None"
    return (
        getattr(annotation, "__name__", str(annotation))
        if not typing.get_args(annotation)
        else str(annotation)
    )
