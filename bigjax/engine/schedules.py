"""Owns learning-rate schedules, and durations in steps from whatever unit they are given in."""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.errors import UserError

Schedule = Callable[[Any], jax.Array]


# Each schedule runs from 1 to `floor` in the steps after warm-up; keyword arguments are keys of the
# config's `schedule` section.
Floor = Annotated[float, Between(0, 1), "where it ends, as a share of optim.learning_rate"]


def constant(num_steps: int) -> Schedule:  # noqa: ARG001
    """The learning rate stays as it is."""
    return optax.constant_schedule(1.0)


def linear(num_steps: int, *, floor: Floor = 0.0) -> Schedule:
    """Down in a straight line."""
    return lambda step: floor + (1 - floor) * (1 - jnp.clip(step / num_steps, 0, 1))


def cosine(num_steps: int, *, floor: Floor = 0.0) -> Schedule:
    """Down along half a cosine (Loshchilov & Hutter 2017)."""
    return lambda step: (
        floor + (1 - floor) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(step / num_steps, 0, 1)))
    )


def rsqrt(
    num_steps: int,  # noqa: ARG001
    *,
    timescale_steps: Annotated[
        int, AtLeast(1), "updates after the warm-up until 0.71 of the highest is left"
    ] = 10_000,
) -> Schedule:
    """Down with one over the root of the step, at any length of the run."""
    return lambda step: jax.lax.rsqrt(1 + step / timescale_steps)


SCHEDULES = {fn.__name__: fn for fn in (constant, linear, cosine, rsqrt)}
SCHEDULE = Choice(
    "name", SCHEDULES, "the course of the learning rate after the warm-up", default="linear"
)


def in_steps(
    what: str,
    *,
    steps: int | None = None,
    epochs: float | None = None,
    examples: int | None = None,
    fraction: float | None = None,
    steps_per_epoch: float,
    examples_per_epoch: int,
    total_steps: int | None = None,
) -> float | None:
    """A duration in steps, not rounded, from the one unit it was given in; None where none was.

    Raises:
      UserError: more than one unit, or a negative duration; `what` names the keys.
    """
    given = {
        unit: value
        for unit, value in {
            "steps": steps,
            "epochs": epochs,
            "examples": examples,
            "fraction": fraction,
        }.items()
        if value is not None
    }
    if len(given) > 1:
        keys = " and ".join(f"{what}_{unit}={value}" for unit, value in given.items())
        raise UserError(f"{keys}: give one of them; set the others to None")
    if not given:
        return None
    ((unit, value),) = given.items()
    if value < 0:
        raise UserError(f"{what}_{unit}={value}: expected 0 or more")
    of_unit = {
        "steps": 1.0,
        "epochs": steps_per_epoch,
        "examples": steps_per_epoch / examples_per_epoch,
        "fraction": total_steps,
    }
    return value * of_unit[unit]


def make_schedule(
    shape: Callable[[int], Schedule], *, learning_rate: float, total_steps: int, warmup_steps: int
) -> Schedule:
    """Linear warm-up from 0 over `warmup_steps`, then `shape` of the number of steps that are left.

    Update number n (from 0) gets the value at n + 1 while warming up and at n after, so the first
    update is never lost to a zero rate.
    """
    if warmup_steps > total_steps:
        raise UserError(
            f"schedule: warm-up of {warmup_steps} steps is longer than the {total_steps} of the run"
        )
    warm_up = lambda step: (step + 1) / max(1, warmup_steps)  # noqa: E731
    after = shape(max(1, total_steps - warmup_steps))
    relative = optax.join_schedules([warm_up, after], [warmup_steps])
    return lambda step: learning_rate * relative(step)
