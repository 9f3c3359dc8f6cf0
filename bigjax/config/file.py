"""Owns running a config file, `FILE[:VARIANT]`: the settings it gives, and where it gives them; and
writing one.

Whether they are right belongs to `values.py`.
"""

import ast
import contextlib
import importlib.util
import os
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bigjax.errors import UserError, nearest


class Given(NamedTuple):
    """values: dotted key -> value, as the file gives them.
    origins: dotted key -> "file", or "variant" where the variant adds or changes it.
    place: from a key to where it is set, "FILE:LINE: config.KEY".
    """

    values: dict[str, Any]
    origins: dict[str, str]
    place: Callable[[str], str]


def read(spec: str) -> Given:
    """What `get_config(VARIANT)` of the file returns, or `get_config()` where none is named.

    Raises:
      UserError: no such file, function or variant; or an exception in the file, with its line.
    """
    path, _, variant = spec.partition(":")
    module = _import(path)
    given = _run(module, variant, path=path)
    base = _run(module, "", path=path) if variant else given
    origins = {
        key: "file" if key in base and base[key] == value else "variant"
        for key, value in given.items()
    }

    def place(key: str) -> str:
        functions = [variant, "get_config"] if origins[key] == "variant" else ["get_config"]
        return f"{path}:{_line_of(path, key, functions=functions)}: config.{key}"

    return Given(given, origins, place)


def as_file(settings: Mapping[str, Any], *, about: str) -> str:
    """The text of a config file that gives `settings` (dotted key -> value) and nothing else."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = value
    lines = [f"    config.{name} = {value!r}" for name, value in sections.pop("", {}).items()]
    for section, values in sections.items():
        lines += [f"    config.{section} = {{"]
        lines += [f"        {name!r}: {value!r}," for name, value in values.items()]
        lines += ["    }"]
    return "\n".join([f'"""{about}"""', *_HEAD, *lines, "    return config", ""])


_HEAD = (
    "", "import ml_collections", "", "", "def get_config():",
    "    config = ml_collections.ConfigDict()",
)  # fmt: skip


def _import(path: str) -> types.ModuleType:
    if not os.path.isfile(path):
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise UserError(f"--config={path}: there is no folder {folder}")
        found = [name for name in os.listdir(folder) if name.endswith(".py")]
        hint = nearest(os.path.basename(path), found)
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
    if not hasattr(config, "to_dict"):
        raise UserError(f"{path}: get_config returned {config!r:.60}; expected a ConfigDict")
    return _flatten(config.to_dict())


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, prefix=f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@contextlib.contextmanager
def _clear_errors(path: str) -> Iterator[None]:
    """An exception inside the user's config file, as one line with file:line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # A syntax error has no frame in the file.
        places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError):
            places.append((error.filename or "", error.lineno))
        own = os.path.abspath(path)
        here = [line for name, line in places if os.path.abspath(name) == own]
        message = (str(error).strip() or "no message").splitlines()[0]
        where = f"{path}:{here[-1] if here else 1}"
        raise UserError(f"{where}: {type(error).__name__}: {message}") from error


def _line_of(path: str, key: str, *, functions: Sequence[str]) -> int:
    """The line that sets a key, as far as reading tells: the last one that does in the first of
    `functions` that has one, else anywhere; else the last that sets its last name."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    parts = [node for f in functions for node in tree.body if getattr(node, "name", None) == f]
    last_name = lambda key: key.rpartition(".")[2]  # noqa: E731
    for same in (str.__eq__, lambda a, b: last_name(a) == last_name(b)):
        for part in [*parts, tree]:
            places = [place for node in ast.walk(part) for place in _settings(node)]
            lines = [line for found, line in places if same(found, key)]
            if lines:
                return max(lines)
    return 1


def _settings(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The keys that a statement sets, with their lines: `config.a.b = x`, `config.a = {"b": x}`,
    `config.a.update(b=x)` and what is made of these."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _leaves(_key_of(target), node.value)
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "update":
        yield from _leaves(_key_of(node.func.value), node)


def _leaves(key: list[str], value: ast.expr) -> Iterator[tuple[str, int]]:
    yield ".".join(key), value.lineno
    if isinstance(value, ast.Dict):
        for name, inner in zip(value.keys, value.values):
            if isinstance(name, ast.Constant):
                yield from _leaves([*key, str(name.value)], inner)
    elif isinstance(value, ast.Call):
        for argument in value.args:
            yield from _leaves(key, argument)
        for keyword in value.keywords:
            yield from _leaves([*key, keyword.arg or ""], keyword.value)


def _key_of(target: ast.expr) -> list[str]:
    """`config.a["b"]` as ["a", "b"]."""
    if isinstance(target, ast.Attribute):
        return [*_key_of(target.value), target.attr]
    if isinstance(target, ast.Subscript):
        return [*_key_of(target.value), str(getattr(target.slice, "value", ""))]
    return []
