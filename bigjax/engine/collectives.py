"""Owns counting what devices say to each other in a compiled program, by its text (HLO). What a
collective then costs belongs to the network."""

import functools
import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# One that is started and finished apart counts where it ends: a start may list operands as well.
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-done)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")
_CALLED = re.compile(
    r" (?:body|condition|calls|to_apply|branch_computations|(?:true|false)_computation)="
    r"(\{[^}]*\}|%?[\w.-]+)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Collective(NamedTuple):
    """What one call of a program does of one kind.

    count: how often a device takes part.
    num_bytes: of all results on one device. That of an all-gather is what all devices gave, that
      of a reduce-scatter one device's share of the sum.
    """

    count: int
    num_bytes: int


def count(text: str) -> dict[str, Collective]:
    """The collectives of one call of a compiled program, by kind, from its text.

    What stands in a loop counts as often as the loop runs, in a loop inside a loop that many times
    more; a loop whose number of turns XLA does not know counts as one turn. Of a conditional every
    branch counts, so that there the numbers are the most that can be.
    """
    lines: dict[str, list[str]] = {}
    entry = inside = ""
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            inside = found[2]
            entry = inside if found[1] else entry
        lines.setdefault(inside, []).append(line)

    @functools.cache
    def total(name: str) -> dict[str, Collective]:
        sums: dict[str, Collective] = {}
        for line in lines.get(name, ()):
            if found := _COLLECTIVE.search(line):
                size = sum(_size(dtype, shape) for dtype, shape in _ARRAY.findall(found[1]))
                _add(sums, found[2], Collective(1, size), times=1)
            trips = _TRIPS.search(line)
            for called in re.findall(r"[\w.-]+", " ".join(_CALLED.findall(line))):
                for kind, more in total(called).items():
                    _add(sums, kind, more, times=int(trips[1]) if trips else 1)
        return sums

    return total(entry)


def _add(sums: dict[str, Collective], kind: str, more: Collective, *, times: int) -> None:
    before = sums.get(kind, Collective(0, 0))
    sums[kind] = Collective(
        before.count + times * more.count, before.num_bytes + times * more.num_bytes
    )


def _size(dtype: str, shape: str) -> int:
    bits = 8 if dtype == "pred" else int(re.search(r"\d+", dtype)[0])
    return math.prod(map(int, filter(None, shape.split(",")))) * bits // 8
