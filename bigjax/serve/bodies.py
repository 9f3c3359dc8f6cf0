"""Owns what a body of a request may be: from its bytes to inputs of the model, or one clear reason
why not."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bigjax.errors import UserError


class Limits(NamedTuple):
    """What a request may ask for. body: bytes. inputs: how many. size: characters of all texts, or
    of a row as JSON. seconds: until it is answered, reading it included."""

    body: int = 2**20
    inputs: int = 64
    size: int = 50_000
    seconds: float = 30.0


class Refused(Exception):
    """A request that is not answered: its status and the reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


# For each kind of input, the keys of a body: its one value, or a list of them.
ONE = {"text": "text", "row": "row"}
SEVERAL = {"text": "texts", "row": "rows"}
TOKENS = "tokens"


def read(body: bytes, *, kind: str, takes: str, limits: Limits) -> list[Any]:
    """The inputs in a body.

    Args:
      kind: its Content-Type, without parameters. takes: what the task takes.
    Raises:
      Refused: 400, 413 or 415.
    """
    if takes == "image":
        if kind.startswith("image/") or kind == "application/octet-stream":
            return [body] if body else _refuse(400, "the body is empty; expected an image file")
        _refuse(415, "expected the bytes of an image, with Content-Type: application/octet-stream")
    if kind != "application/json":
        _refuse(415, "expected JSON, with Content-Type: application/json")
    found = _inputs(_object(body), takes=takes)
    if len(found) > limits.inputs:
        _refuse(413, f"{len(found)} inputs; expected {limits.inputs} at most: ask several times")
    size = sum(map(_size, found))
    if size > limits.size:
        _refuse(413, f"{size} characters; expected {limits.size} at most: part the text")
    return found


def prepare(given: list[Any], *, by: Callable[[Any], Any]) -> list[Any]:
    """Inputs as the model takes them; Refused (400) for one that cannot be answered."""
    prepared = []
    for number, one in enumerate(given, 1):
        try:
            prepared.append(by(one))
        except UserError as error:
            where = f"input {number}: " if len(given) > 1 else ""
            _refuse(400, f"{where}{error}")
    return prepared


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        _refuse(400, f"the body is not UTF-8 (byte {error.start})")
    except RecursionError:
        _refuse(400, "the body is nested too deeply")
    except ValueError as error:
        _refuse(400, f"the body is not JSON: {error}"[:200])
    if not isinstance(found, dict):
        _refuse(400, f"expected a JSON object, found {_kind(found)}")
    return found


def _inputs(found: Mapping[str, Any], *, takes: str) -> list[Any]:
    one, several = ONE[takes], SEVERAL[takes]
    keys = [one, several, *([TOKENS] if takes == "text" else [])]
    given = [key for key in found if key in keys]
    if len(given) != 1 or len(found) != 1:
        shown = ", ".join(repr(key[:40]) for key in list(found)[:5]) or "none"
        _refuse(
            400, f"expected exactly one of the keys {', '.join(map(repr, keys))}; found {shown}"
        )
    key, value = given[0], found[given[0]]
    if key == TOKENS:
        if not _is_list_of(value, str) or not value:
            _refuse(400, "'tokens': expected a list of words, one or more")
        return [value]
    kind, name = (str, "a string") if takes == "text" else (dict, "an object of columns")
    if key == one:
        if not isinstance(value, kind):
            _refuse(400, f"{key!r}: expected {name}, found {_kind(value)}")
        return [value]
    if not _is_list_of(value, kind) or not value:
        _refuse(400, f"{key!r}: expected a list of one or more, each {name}")
    return value


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) for one in value)


def _size(given: Any) -> int:
    if isinstance(given, str):
        return len(given)
    if isinstance(given, list):
        return sum(len(word) + 1 for word in given)
    return len(json.dumps(given))


def _kind(value: Any) -> str:
    names = {bool: "a boolean", dict: "an object", list: "a list", str: "a string"}
    return "null" if value is None else names.get(type(value), "a number")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _refuse(status: int, reason: str) -> Any:
    raise Refused(status, reason)
