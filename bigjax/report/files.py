"""Owns reading what a run folder holds for a page: its numbers and the files that say what it is,
and what the numbers are called."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bigjax.errors import UserError
from bigjax.report import charts

# Titles and units of what every run logs; a task declares those of its scores. A name that is in
# neither is shown as it reads.
_QUANTITIES = {
    "learning_rate": ("Learning rate", ""),
    "grad_norm": ("Gradient norm", ""),
    "flops_per_second": ("FLOP", "per second"),
    "fill": ("Batch fill", "share of positions"),
    "input_wait": ("Input wait", "share of time"),
}
_RATE = "_per_second"
SHARES = {"fill": (0.0, 1.0), "input_wait": (0.0,)}  # with the values their axes always hold


def read_metrics(path: Path) -> dict[str, list[charts.Point]]:
    """Each metric's (step, value) points in order of step; a later line's value stands."""
    lines = path.read_bytes().splitlines()
    values = defaultdict(dict)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            step = record.pop("step")
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            if number == len(lines):
                break  # the run was killed while it wrote this line
            shown = line[:60].decode(errors="replace")
            raise UserError(
                f'{path}:{number}: expected a JSON object with a "step", got {shown!r}; '
                "delete that line"
            ) from error
        for name, value in record.items():
            values[name][step] = math.nan if value is None else value
    points = {
        name: [(step, y) for step, y in sorted(by_step.items()) if math.isfinite(y)]
        for name, by_step in values.items()
    }
    return {name: kept for name, kept in points.items() if kept}


def read_json(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path}: expected JSON, got {error}; run evaluation to write it again"
        ) from error


def is_speed(quantity: str) -> bool:
    """Whether it measures speed and not learning."""
    return quantity.endswith(_RATE) or quantity in SHARES


def title_of(quantity: str, *, titles: Mapping[str, str] = MappingProxyType({})) -> tuple[str, str]:
    """A logged quantity's title and unit."""
    if quantity in titles:
        return titles[quantity], ""
    words = quantity.removesuffix(_RATE).replace("_", " ").replace("f1", "F1")
    unit = "per second" if quantity.endswith(_RATE) else ""
    return _QUANTITIES.get(quantity, (words[:1].upper() + words[1:], unit))
