"""Owns the model card (`README.md`) of an export: what the model learnt from and how, what it
scores, how it is used and how it is made again; all of it from the files of its run."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Use(NamedTuple):
    """How the export is used. library: whose models it is among. pipeline: what transformers calls
    what it does, or None. code: Python. note: what else is to be known."""

    library: str
    pipeline: str | None
    code: str
    note: str


def text(workdir: str, *, step: int, use: Use, proof: Sequence[str], license: str) -> str:
    """The card of the run in `workdir`; what its folder does not say is left out."""
    results, data = _read(workdir, "results.json"), _read(workdir, "data_report.json")
    made, config = _read(workdir, "environment.json"), _read(workdir, "config.json")
    name = os.path.basename(os.path.abspath(workdir))
    start = made.get("init_checkpoint") or "random parameters"
    head = {"license": license, "library_name": use.library, "tags": ["bigjax"]}
    head |= {"pipeline_tag": use.pipeline} if use.pipeline else {}
    task = str(config.get("values", {}).get("task", "")).replace("_", " ")
    parts = [
        "---\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items()) + "---",
        f"# {name}",
        f"A model for {task}, trained with bigjax from {start}; step {step} of its run.",
        f"## Use\n\n```python\n{use.code.strip()}\n```" + (f"\n\n{use.note}" if use.note else ""),
        "## The same model\n\n" + "\n".join(f"- {line}" for line in proof),
        _scores(results, step=step),
        _table("Data", ("", ""), data.get("rows", [])),
        _settings(config),
        _made(made),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scores(results: Mapping[str, Any], *, step: int) -> str:
    intervals = results.get("intervals") or {}
    rows = []
    for key, value in results.get("scores", {}).items():
        split, _, score = key.partition("/")
        low_high = intervals.get(key)
        between = f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else ""
        shown = "not defined" if value is None else f"{value:.4f}"
        rows.append((split, results["titles"].get(score, score), shown, between))
    if not any(row[3] for row in rows):
        rows = [row[:3] for row in rows]
    table = _table(
        "Scores", ("split", "score", "value", "95% interval")[: len((rows or [()])[0])], rows
    )
    other = table and results.get("step") not in (None, step)
    return table + (f"\n\nOf step {results['step']}." if other else "")


def _settings(config: Mapping[str, Any]) -> str:
    values, origins = config.get("values", {}), config.get("origins", {})
    given = [(key, f"`{value}`") for key, value in values.items() if origins.get(key) != "default"]
    return _table("Settings", ("setting", "value"), given)


def _made(made: Mapping[str, Any]) -> str:
    if not made:
        return ""
    packages = ", ".join(f"{name} {version}" for name, version in made.get("packages", {}).items())
    lines = [
        f"- commit of bigjax: {made.get('git_commit') or 'not known'}",
        f"- Python {made.get('python')}: {packages}",
        f"- devices: {', '.join(made.get('devices', []))}",
        *(f"- SHA-256 of {k}: {v}" for k, v in made.get("data_fingerprint", {}).items()),
    ]
    return f"## How to make it again\n\n```bash\n{made.get('command')}\n```\n\n" + "\n".join(lines)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    cell = lambda value: " ".join(str(value).split()).replace("|", "\\|")  # noqa: E731
    line = lambda cells: f"| {' | '.join(map(cell, cells))} |"  # noqa: E731
    ruler = line(["---"] * len(columns))
    return f"## {title}\n\n" + "\n".join([line(columns), ruler, *map(line, rows)])


def _read(workdir: str, name: str) -> dict[str, Any]:
    """{} where a run has no such file, as one that was stopped has no results."""
    try:
        with open(os.path.join(workdir, name), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
