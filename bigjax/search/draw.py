"""Owns what a trial tries: a pure function of (seed, number of the trial, finished trials), so that
a search that was killed draws as one that was not."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.config.ranges import Range
from bigjax.errors import UserError

Label = str | int | float | bool | None


def draw(
    method: str,
    *,
    space: Mapping[str, Range],
    seed: int,
    number: int,
    finished: Sequence[Any],
    direction: str,
) -> dict[str, Label]:
    """The parameters of trial `number`, as Optuna keeps them.

    Args:
      method: "tpe" (Bergstra et al., Algorithms for hyper-parameter optimization, 2011; Optuna's),
        "random" or "grid", in which the last setting of the space changes fastest.
      finished: Optuna's frozen trials, in order of their numbers.
      direction: "maximize" or "minimize".
    """
    import optuna

    if method == "grid":
        places = itertools.product(*(labels(one) for one in space.values()))
        return dict(zip(space, next(itertools.islice(places, number, None))))
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    # A study of its own in memory, whose sampler has no past: what draws keep nothing.
    study = optuna.create_study(sampler=samplers[method](seed=own_seed), direction=direction)
    study.add_trials(finished)
    return study.ask(distributions(space)).params


def grid_size(space: Mapping[str, Range]) -> int:
    """Raises UserError for a range that has no end of values."""
    endless = [key for key, one in space.items() if one.kind != "choice"]
    if endless:
        raise UserError(
            f"search.method='grid' takes every combination, and search.space.{endless[0]} is no "
            "('choice', VALUE, VALUE, ...); list its values, or take search.method='tpe'"
        )
    return math.prod(len(one.values) for one in space.values())


def distributions(space: Mapping[str, Range]) -> dict[str, Any]:
    """Optuna's."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    def of(one: Range) -> Any:
        if one.kind == "choice":
            return CategoricalDistribution(labels(one))
        number = IntDistribution if one.is_whole else FloatDistribution
        return number(*one.values, log=one.kind == "log")

    return {key: of(one) for key, one in space.items()}


def labels(one: Range) -> list[Label]:
    """The values of a choice as Optuna can keep them: a tuple as its text."""
    plain = (str, int, float, bool, type(None))
    return [value if isinstance(value, plain) else repr(value) for value in one.values]


def settings_of(params: Mapping[str, Label], space: Mapping[str, Range]) -> dict[str, Any]:
    """What `draw` gave, as values of the settings."""

    def of(key: str, value: Label) -> Any:
        one = space[key]
        return one.values[labels(one).index(value)] if one.kind == "choice" else value

    return {key: of(key, params[key]) for key in space}
