"""Owns what a trial is, which one is best, and when one is ended early. Pure functions; where
trials are kept is `study.py`'s."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

State = Literal["running", "trained", "pruned", "failed"]


class Trial(NamedTuple):
    """settings: dotted key -> value, what the search drew. score: of dev, of a trained trial.
    reported: step -> score, of each evaluation. note: why it failed."""

    number: int
    state: State
    settings: Mapping[str, Any]
    score: float | None
    reported: Mapping[int, float]
    note: str = ""

    @property
    def is_finished(self) -> bool:
        return self.state != "running"


def best_of(trials: Sequence[Trial], *, higher_is_better: bool) -> Trial | None:
    """The trained trial of the best score, of equal ones the first; None where none is trained."""
    trained = [trial for trial in trials if trial.state == "trained"]
    sign = 1 if higher_is_better else -1
    return max(trained, key=lambda trial: (sign * trial.score, -trial.number), default=None)


def is_hopeless(
    trial: Trial,
    *,
    others: Sequence[Trial],
    step: int,
    higher_is_better: bool,
    after: int,
    warmup: int,
) -> bool:
    """Whether a trial should be ended after its evaluation at `step`: its best score so far is
    worse than the median of what the trained `others` had after as many evaluations (Golovin et
    al., Google Vizier, 2017, section 3.2.2, of best instead of mean scores).

    Args:
      after: never before so many others are trained. warmup: nor at so many first evaluations.
    """
    sign = 1 if higher_is_better else -1
    own = _scores(trial, up_to=step, sign=sign)
    trained = [
        _scores(other, up_to=None, sign=sign) for other in others if other.state == "trained"
    ]
    if len(trained) < after or len(own) <= warmup:
        return False
    at = [max(scores[: len(own)]) for scores in trained if len(scores) >= len(own)]
    return bool(at) and max(own) < statistics.median(at)


def _scores(trial: Trial, *, up_to: int | None, sign: int) -> list[float]:
    """In order of steps, higher is better; nan is worst."""
    steps = sorted(step for step in trial.reported if up_to is None or step <= up_to)
    values = [sign * trial.reported[step] for step in steps]
    return [-math.inf if math.isnan(value) else value for value in values]
