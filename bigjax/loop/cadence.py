"""Owns how often a run logs, evaluates and saves, and whether it is time to."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax

from bigjax.config.sections import Checkpointing, Logging
from bigjax.engine.build import Setup, duration
from bigjax.processes import distributed


class Cadence(NamedTuple):
    """How often things happen, in steps (an epoch need not be a whole number); None: never."""

    evaluate: float | None
    save: float | None
    save_seconds: float
    log: float


def cadence_of(setup: Setup) -> Cadence:
    config = setup.config
    saving = config.of(Checkpointing)
    minutes = saving.every_minutes
    return Cadence(
        evaluate=duration(config, "every", section="eval", task=setup.task),
        save=saving.every_steps,
        save_seconds=math.inf if minutes is None else minutes * 60,
        log=config.of(Logging).every_steps,
    )


def is_due(every: float | None, step: int) -> bool:
    """Whether a multiple of `every` lies in (step - 1, step]."""
    if not every or step < 1:
        return False
    times = lambda at: math.floor(at / every + 1e-6)  # noqa: E731 - 1e-6: rounding of an epoch
    return times(step) > times(step - 1)


def spans(every: Cadence, *, first: int, total: int, most: int) -> Iterator[range]:
    """Steps `first` to `total` in runs of at most `most`, of which none goes on where something is
    to be done."""
    begin = first
    for step in range(first + 1, total + 1):
        due = any(is_due(often, step) for often in (every.evaluate, every.save, every.log))
        if due or step - begin == most or step == total:
            yield range(begin, step)
            begin = step


def is_long_ago(saved_at: float, *, every: Cadence, step: int) -> bool:
    """Whether it is time to save by the clock (`time.monotonic`); of several processes that of the
    first one counts, which is asked when scalars are logged: they wait for each other then anyway.
    """
    if math.isinf(every.save_seconds) or jax.process_count() > 1 and not is_due(every.log, step):
        return False
    return distributed.first_says(time.monotonic() - saved_at > every.save_seconds)
