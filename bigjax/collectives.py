"""Owns counting the collectives of a compiled program: what devices say to each other."""

import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_LINE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|[suf]\d+|bf16)\[([\d,]*)\]")


class Collective(NamedTuple):
    """count: how often it stands in the program. num_bytes: of all its results, on one device."""

    count: int
    num_bytes: int


def count(text: str) -> dict[str, Collective]:
    """The collectives in the text of a compiled program (HLO), by kind."""
    found: dict[str, Collective] = {}
    for result, kind in _LINE.findall(text):
        before = found.get(kind, Collective(0, 0))
        num_bytes = sum(_size(dtype, shape) for dtype, shape in _ARRAY.findall(result))
        found[kind] = Collective(before.count + 1, before.num_bytes + num_bytes)
    return found


def _size(dtype: str, shape: str) -> int:
    bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
    return math.prod(map(int, filter(None, shape.split(",")))) * bits // 8
