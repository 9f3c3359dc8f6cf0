"""Schedules against closed forms, durations in every unit."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigjax.engine import schedules
from bigjax.errors import UserError

PEAK = 0.01


# --- schedules ------------------------------------------------------------------------------------


def rates(name: str, *, warmup_steps: int = 0, total_steps: int = 100, **options) -> list[float]:
    schedule = schedules.make_schedule(
        functools.partial(schedules.SCHEDULES[name], **options),
        learning_rate=PEAK,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
    )
    return [float(schedule(jnp.int32(step))) for step in range(total_steps + 1)]


CLOSED_FORMS = {
    "constant": ({}, lambda _: 1.0),
    "linear": ({}, lambda t: 1 - t),
    "linear to a floor": ({"floor": 0.2}, lambda t: 1 - 0.8 * t),
    "cosine": ({}, lambda t: 0.5 + 0.5 * math.cos(math.pi * t)),
    "cosine to a floor": ({"floor": 0.2}, lambda t: 0.6 + 0.4 * math.cos(math.pi * t)),
    "rsqrt": ({"timescale_steps": 40}, lambda t: 1 / math.sqrt(1 + t * 80 / 40)),
}


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_a_schedule_rises_linearly_and_then_equals_its_closed_form(case):
    options, form = CLOSED_FORMS[case]
    found = rates(case.split()[0], warmup_steps=20, **options)
    np.testing.assert_allclose(found[:20], [PEAK * (n + 1) / 20 for n in range(20)], rtol=1e-5)
    after = [PEAK * form(n / 80) for n in range(81)]
    np.testing.assert_allclose(found[20:], after, rtol=1e-5, atol=1e-8)


# What a run's learning rates are made of. Optax's linear and cosine schedules, and its warm-up, are
# these functions in other operations, and so other numbers in the last bits.
FORMULAS = {
    "constant": lambda t, floor: jnp.ones_like(t),  # noqa: ARG005
    "linear": lambda t, floor: floor + (1 - floor) * (1 - jnp.clip(t / 80, 0, 1)),
    "cosine": lambda t, floor: (
        floor + (1 - floor) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(t / 80, 0, 1)))
    ),
    "rsqrt": lambda t, floor: jax.lax.rsqrt(1 + t / 10_000),  # noqa: ARG005
}


@pytest.mark.parametrize("floor", [0.0, 0.1])
@pytest.mark.parametrize("name", FORMULAS)
def test_every_bit_of_a_schedule_is_that_of_its_formula(name, floor):
    def formula(step):
        after = FORMULAS[name](jnp.maximum(step - 20, 0).astype(jnp.float32), floor)
        return 3e-5 * jnp.where(step < 20, (step + 1) / 20, after)

    options = {"floor": floor} if name in ("linear", "cosine") else {}
    shape = functools.partial(schedules.SCHEDULES[name], **options)
    schedule = schedules.make_schedule(shape, learning_rate=3e-5, total_steps=100, warmup_steps=20)
    steps = jnp.arange(110)
    np.testing.assert_array_equal(schedule(steps), formula(steps))
    np.testing.assert_array_equal(*(jax.jit(fn)(steps) for fn in (schedule, formula)))


def test_without_warm_up_the_first_update_has_the_peak():
    assert rates("linear")[0] == pytest.approx(PEAK)


def test_a_schedule_past_its_end_stays_there():
    shape = functools.partial(schedules.cosine, floor=0.1)
    schedule = schedules.make_schedule(shape, learning_rate=PEAK, total_steps=10, warmup_steps=0)
    assert float(schedule(jnp.int32(25))) == pytest.approx(PEAK * 0.1)


def test_a_warm_up_may_be_the_whole_run_but_no_longer():
    assert rates("linear", warmup_steps=10, total_steps=10)[9] == pytest.approx(PEAK)
    with pytest.raises(UserError, match="11 steps is longer than the 10"):
        rates("linear", warmup_steps=11, total_steps=10)


# --- durations ------------------------------------------------------------------------------------


in_steps = functools.partial(
    schedules.in_steps,
    "schedule.warmup",
    steps_per_epoch=12.5,
    examples_per_epoch=400,
    total_steps=50,
)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"steps": 7}, 7),
        ({"epochs": 2.0}, 25),
        ({"examples": 100}, 3.125),
        ({"fraction": 0.1}, 5),
        ({"steps": 0}, 0),
        ({}, None),
    ],
)
def test_a_duration_in_any_unit_comes_out_in_steps(given, expected):
    assert in_steps(**given) == expected


def test_two_units_at_once_are_an_error_that_names_both():
    expected = "^schedule.warmup_steps=3 and schedule.warmup_fraction=0.1: give one of them"
    with pytest.raises(UserError, match=expected):
        in_steps(steps=3, fraction=0.1)


def test_a_negative_duration_is_an_error_that_names_its_key():
    with pytest.raises(UserError, match="^schedule.warmup_epochs=-1.0: expected 0 or more"):
        in_steps(epochs=-1.0)
