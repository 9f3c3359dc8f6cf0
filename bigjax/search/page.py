"""Owns what a search shows: `search.html`, and its lines on the terminal.

Drawing belongs to the room `report`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bigjax.config.ranges import Range
from bigjax.report import charts, coordinates, sections
from bigjax.report.document import document, figures
from bigjax.report.sections import escape
from bigjax.run_folder.folder import write_text
from bigjax.search.trials import Trial, best_of
from bigjax.tasks.task import Score

NAME = "search.html"
_ENDS = {"trained": "trained", "pruned": "ended early", "failed": "failed", "running": "running"}


def in_words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in settings.items())


def verdict(trial: Trial, *, best: Trial | None, title: str) -> str:
    """What came of a trial, and which is best."""
    came = _ENDS[trial.state]
    if trial.state == "trained":
        came += f", dev {title} {trial.score:.4f}"
    if trial.note:
        came += f": {trial.note}"
    is_best = best is not None and best.number == trial.number
    than = "the best so far" if is_best else ""
    if best is not None and not is_best:
        than = f"best so far: trial {best.number}, {best.score:.4f}"
    return f"trial {trial.number}: {came}" + (f"; {than}" if than else "")


def write(
    workdir: str,
    *,
    trials: Sequence[Trial],
    space: Mapping[str, Range],
    score: Score,
    importances: Mapping[str, float],
    about: str,
) -> None:
    """Writes `search.html`.

    Args:
      importances: setting -> share of what it mattered; empty: not known.
      about: a line under the title.
    """
    best = best_of(trials, higher_is_better=score.higher_is_better)
    count = {state: sum(trial.state == state for trial in trials) for state in _ENDS}
    named = [("Trials", str(len(trials)), ", ".join(
        f"{count[state]} {words}" for state, words in _ENDS.items() if count[state]))]  # fmt: skip
    if best is not None:
        named.insert(0, (score.title, sections.text(best.score), f"on dev, trial {best.number}"))
    title = f"Search: {score.title}"
    header = (
        f'<p class="task">Search</p><h1>{escape(title)}</h1><p class="meta">{escape(about)}</p>'
        + figures(named)
    )
    blocks = [
        ("Best settings", _best(best)),
        ("Settings and scores", _parallel(trials, space=space, score=score, best=best)),
        ("What mattered", _importances(importances)),
        ("Trials", _table(trials, space=space, score=score)),
    ]
    html = document([(name, body) for name, body in blocks if body], header=header, title=title)
    write_text(workdir, NAME, html)


def _best(best: Trial | None) -> str:
    if best is None:
        return ""
    rows = [[key, _short(value)] for key, value in best.settings.items()]
    note = "best.py is a config file with these settings: --config=best.py trains them."
    return sections.table({"columns": ["setting", "value"], "rows": rows, "note": note})


def _parallel(
    trials: Sequence[Trial], *, space: Mapping[str, Range], score: Score, best: Trial | None
) -> str:
    """A line a trial that has a score: the last it reported where it was ended early."""
    found = [(trial, _last(trial)) for trial in trials]
    scored = [(trial, value) for trial, value in found if value is not None]
    if not scored:
        return ""
    low, high = min(value for _, value in scored), max(value for _, value in scored)
    share = lambda value: (value - low) / (high - low) if high > low else 0.5  # noqa: E731
    axes = [coordinates.Axis(key, _marks(one)) for key, one in space.items()]
    ends = [(share(value), charts.figure(value)) for value in dict.fromkeys((low, high))]
    axes.append(coordinates.Axis(f"dev.{score.title}", ends))
    drawn = [
        coordinates.Line(
            places=[
                *(_place(trial.settings[key], one) for key, one in space.items()),
                share(value),
            ],
            strength=share(value) if score.higher_is_better else 1 - share(value),
            is_best=best is not None and trial.number == best.number,
            says=f"trial {trial.number} ({_ENDS[trial.state]}): {score.title} "
            f"{charts.figure(value)}, {in_words(trial.settings)}",
        )
        for trial, value in scored
    ]
    svg = coordinates.parallel("Settings of trials, and their score", axes=axes, lines=drawn)
    note = (
        "A line a trial, from its settings to its score; the darker the better, the best orange. "
        "Pointing at one names it. Of a trial that was ended early it is the last score."
    )
    return f'<p class="note">{note}</p><div class="box">{svg}</div>'


def _importances(importances: Mapping[str, float]) -> str:
    if not importances:
        return ""
    rows = sorted(importances.items(), key=lambda row: -row[1])
    note = (
        "How much of the difference between good trials and all of them is each setting's "
        "(PED-ANOVA). Of few trials it is a hint."
    )
    return f'<p class="note">{note}</p>{coordinates.bars("Importances", rows=rows)}'


def _table(trials: Sequence[Trial], *, space: Mapping[str, Range], score: Score) -> str:
    sign = -1 if score.higher_is_better else 1

    def rank(trial: Trial) -> tuple[int, float]:
        last = _last(trial)
        return list(_ENDS).index(trial.state), math.inf if last is None else sign * last

    rows = [
        [
            trial.number,
            _last(trial),
            _ENDS[trial.state],
            *(_short(trial.settings[key]) for key in space),
            len(trial.reported),
            trial.note,
        ]
        for trial in sorted(trials, key=rank)
    ]
    columns = ["trial", f"dev {score.title}", "came to", *space, "evaluations", "why"]
    if not any(trial.note for trial in trials):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    note = "A trial's run is in trials/, under its number."
    return sections.table({"columns": columns, "rows": rows, "note": note})


def _last(trial: Trial) -> float | None:
    """The score to show; None where there is none."""
    if trial.score is not None:
        return trial.score
    finite = {step: value for step, value in trial.reported.items() if math.isfinite(value)}
    return finite[max(finite)] if finite else None


def _place(value: Any, one: Range) -> float:
    """Where on its axis, from 0 to 1."""
    if one.kind == "choice":
        places = list(one.values)
        return (places.index(value) + 0.5) / len(places)
    low, high = one.values
    if one.kind == "log":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _marks(one: Range) -> list[tuple[float, str]]:
    if one.kind == "choice":
        return [(_place(value, one), _short(value)) for value in one.values]
    low, high = one.values
    inner = range(low + 1, high) if one.is_whole and high - low < 9 else []
    if one.kind == "log":
        powers = range(math.ceil(math.log10(low) + 0.15), math.floor(math.log10(high) - 0.15) + 1)
        inner = [10.0**power for power in powers]
    return [(_place(value, one), f"{value:.4g}") for value in (low, *inner, high)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
