"""Owns a run's settings: read from a config file, overridden, checked against the functions that
take them, and recorded with where each value came from.

A section of the config is the keyword-only arguments of the functions (or dataclasses) that take
it, with their annotations and defaults. So a key that nothing reads, a misspelt one and one of the
wrong type are errors before anything runs. Which functions those are belongs to `settings.py`.
"""

import ast
import importlib.util
import inspect
import os
import re
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

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
    path, _, variant = spec.partition(":")
    module = _import(path)
    given = _run(module, variant, path=path)
    base = _run(module, "", path=path) if variant else given
    origins = {
        key: "file" if key in base and base[key] == value else "variant"
        for key, value in given.items()
    }
    place = lambda key: f"{path}:{_line_of(path, key)}: config.{key}"  # noqa: E731
    return _resolve(
        given, origins=origins, overrides=overrides, schema=schema, place=place, file=spec
    )


def from_record(
    record: Mapping[str, Any],
    *,
    path: str,
    overrides: Mapping[str, str],
    schema: Callable[[dict[str, Any]], Schema],
) -> Config:
    """The settings of an earlier run from what `Config.record` kept of them, with overrides."""
    given = dict(record["values"])
    for key in [key for key, origin in record["origins"].items() if origin == "default"]:
        given.pop(key)
    return _resolve(
        given,
        origins=record["origins"],
        overrides=overrides,
        schema=schema,
        place=lambda key: f"{path}: config.{key}",
        file=record["file"],
    )


def _resolve(
    given: Mapping[str, Any],
    *,
    origins: Mapping[str, str],
    overrides: Mapping[str, str],
    schema: Callable[[dict[str, Any]], Schema],
    place: Callable[[str], str],
    file: str,
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
        raise UserError(f"{shown}: there is no such setting; {nearest(key, everywhere)}")
    here = [_dotted(section, k) for k in _all_parameters(takers[section])]
    near = nearest(key, here)
    # A key in the wrong section is more likely meant than a far one in the right section.
    elsewhere = [other for other in everywhere if other.rpartition(".")[2] == name]
    if elsewhere and not near.startswith("did"):
        near = f"did you mean {elsewhere[0]!r}?"
    readers = " and ".join(fn.__name__ for fn in takers[section])
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


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _import(path: str) -> types.ModuleType:
    if not os.path.isfile(path):
        folder = os.path.dirname(path) or "."
        found = sorted(f for f in os.listdir(folder) if f.endswith(".py")) if os.path.isdir(
            folder
        ) else []
        hint = nearest(os.path.basename(path), found) if found else "the folder does not exist"
        raise UserError(f"--config={path}: no such file in {folder}; {hint}")
    spec = importlib.util.spec_from_file_location("bigjax_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={path}: expected a Python file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    with _clear_errors(path):
        spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: no function get_config(variant) that returns a ConfigDict")
    return module


def _run(module: types.ModuleType, variant: str, *, path: str) -> dict[str, Any]:
    """The file's settings for a variant, flat."""
    variants = getattr(module, "VARIANTS", None)
    if variant and variants is not None and variant not in variants:
        raise UserError(f"{path}: there is no variant {variant!r}; {nearest(variant, variants)}")
    with _clear_errors(path):
        config = module.get_config(variant) if variant else module.get_config()
    return _flatten(config.to_dict())


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, prefix=f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


class _clear_errors:  # noqa: N801 - reads as a statement
    """An exception inside the user's config file, as one line with file:line."""

    def __init__(self, path: str):
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, UserError):
            return
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(trace)
            if os.path.abspath(frame.filename) == os.path.abspath(self._path)
        ]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else 1)
        message = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UserError(f"{self._path}:{line}: {type(error).__name__}: {message}") from error


def _line_of(path: str, key: str) -> int:
    """The line of the file that sets a key: the last one that spells its last name."""
    name = key.rpartition(".")[2]
    with open(path, encoding="utf-8") as file:
        lines = [i for i, text in enumerate(file, 1) if re.search(rf"\b{re.escape(name)}\b", text)]
    return lines[-1] if lines else 1


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
    if str in options or any(typing.get_origin(o) is Literal for o in options):
        return _check(text, annotation, place=place)
    if bool in options and text.lower() in ("true", "false", "1", "0"):
        return text.lower() in ("true", "1")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if any(typing.get_origin(o) is tuple for o in options) and not isinstance(value, (tuple, list)):
        value = tuple(part.strip() for part in text.split(","))
    if options == (int,) and isinstance(value, float) and value.is_integer():
        value = int(value)  # 1e3
    return _check(value, annotation, place=place)


def _check(value: Any, annotation: Any, *, place: str) -> Any:
    """The value as the annotated type (an int serves as a float, a list as a tuple), or an error."""
    for option in _options(annotation):
        converted = _convert(value, option)
        if converted is not _MISMATCH:
            return converted
    choices = [c for o in _options(annotation) for c in typing.get_args(o) if isinstance(c, str)]
    hint = f"; {nearest(value, choices)}" if choices and isinstance(value, str) else ""
    raise UserError(
        f"{place}={value!r} is {type(value).__name__}; expected {_describe(annotation)}{hint}"
    )


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
    return getattr(annotation, "__name__", str(annotation)) if not typing.get_args(
        annotation
    ) else str(annotation)
