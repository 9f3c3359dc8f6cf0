"""Owns what pages of several runs share: their folders as records, and charts with all of them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bigjax.errors import UserError
from bigjax.report import charts, files


class Run(NamedTuple):
    """A finished run, from its folder. name: its folder's, or the path where another has the same.
    settings: dotted key -> value. results, environment: the files of these names. metrics: name ->
    (step, value) points.
    """

    folder: str
    name: str
    settings: Mapping[str, Any]
    results: Mapping[str, Any]
    environment: Mapping[str, Any]
    metrics: Mapping[str, Sequence[charts.Point]]


def read(folders: Sequence[str]) -> list[Run]:
    """The finished runs in `folders`.

    Raises:
      UserError: no such folder, no run, or one that has not come to its scores.
    """
    bases = [os.path.basename(os.path.abspath(folder)) for folder in folders]
    names = [b if bases.count(b) == 1 else folder for b, folder in zip(bases, folders)]
    return [_read(folder, name=name) for folder, name in zip(folders, names)]


def curves(runs: Sequence[Run]) -> str:
    """A chart for each thing that was logged but speed, in it a curve a run; scores first."""
    every = dict.fromkeys(name for run in runs for name in run.metrics)
    shown = [name for name in every if not files.is_speed(name.rpartition("/")[2])]
    drawn = []
    for name in sorted(shown, key=_rank):
        group, _, quantity = name.rpartition("/")
        title, unit = files.title_of(quantity, titles=runs[0].results.get("titles", {}))
        series = [
            charts.Series(run.name, run.metrics[name], i % charts.NUM_COLOURS)
            for i, run in enumerate(runs)
            if name in run.metrics
        ]
        if any(len(one.points) > 1 for one in series):
            drawn.append(charts.lines(title, series=series, unit=unit or f"on {group}"))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def title_of(score: str, run: Run) -> str:
    """What a "split/name" is called."""
    split, _, name = score.rpartition("/")
    return f"{files.title_of(name, titles=run.results.get('titles', {}))[0]} ({split})"


def _rank(name: str) -> tuple[bool, bool]:
    return name.startswith("train/"), name != "train/loss"


def _read(folder: str, *, name: str) -> Run:
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: there is no such folder; expected the folder of a run")
    if os.path.exists(os.path.join(folder, "seeds.json")):
        inside = os.path.join(folder, "seed-0")
        raise UserError(
            f"{folder}: holds a run for each of several seeds; name one, such as {inside}"
        )
    for file in ("config.json", "results.json", "metrics.jsonl"):
        if not os.path.isfile(os.path.join(folder, file)):
            raise UserError(
                f"{os.path.join(folder, file)}: no such file; expected the folder of a run that "
                "has come to its end"
            )
    config, results, environment = (
        files.read_json(Path(folder) / f"{part}.json")
        for part in ("config", "results", "environment")
    )
    metrics = files.read_metrics(Path(folder) / "metrics.jsonl")
    return Run(folder, name, config.get("values", {}), results, environment, metrics)
