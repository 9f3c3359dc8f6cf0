"""The temperature: against a grid, and of models whose temperature is known."""

import math

import numpy as np
import pytest

from bigjax.scores import class_scores, temperature

GRID = np.exp(np.linspace(-3, 3, 6001))


def classified(num: int, *, sharper: float, num_classes=4, seed=0):
    """Logits that are `sharper` times those that the labels were drawn by."""
    rng = np.random.Generator(np.random.Philox(seed))
    true = rng.normal(size=(num, num_classes)) * 2
    probabilities = class_scores.softmax(true)
    labels = (probabilities.cumsum(axis=1) < rng.random((num, 1))).sum(axis=1)
    return (true * sharper).astype(np.float32), labels


def slow_loss(logits, labels, at: float) -> float:
    probabilities = class_scores.softmax(logits / at)
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).sum())


@pytest.mark.parametrize(("num", "sharper"), [(3, 1.0), (40, 4.0), (300, 0.3), (300, 8.0)])
def test_the_temperature_is_the_best_of_a_grid(num, sharper):
    logits, labels = classified(num, sharper=sharper)
    totals = [slow_loss(logits, labels, at) + math.log(at) ** 2 / 2 for at in GRID]
    found = temperature.fit(temperature.softmax_loss(logits, labels=labels))
    assert found == pytest.approx(GRID[np.argmin(totals)], rel=0.002)


def test_a_model_that_is_too_sure_gets_back_what_it_was_drawn_from():
    logits, labels = classified(20_000, sharper=3.0)
    found = temperature.fit(temperature.softmax_loss(logits, labels=labels))
    assert found == pytest.approx(3.0, rel=0.03)
    before, after = (
        class_scores.calibration(class_scores.softmax(of), labels=labels).error
        for of in (logits, temperature.divided(logits, found))
    )
    assert before > 0.1 and after < 0.015


def test_a_model_without_a_mistake_does_not_become_certain():
    logits, labels = 5.0 * np.eye(4, dtype=np.float32)[np.arange(20) % 4], np.arange(20) % 4
    found = temperature.fit(temperature.softmax_loss(logits, labels=labels))
    assert 0.3 < found < 1
    assert class_scores.softmax(temperature.divided(logits, found)).max() < 0.9999


def test_the_loss_is_the_same_in_blocks(monkeypatch):
    logits, labels = classified(50, sharper=2.0)
    loss = temperature.softmax_loss(logits, labels=labels)
    monkeypatch.setattr(temperature, "_BLOCK", 12)
    in_blocks = temperature.softmax_loss(logits, labels=labels)
    assert (
        in_blocks(0.7)
        == pytest.approx(loss(0.7))
        == pytest.approx(slow_loss(logits, labels, 0.7), rel=1e-6)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_have_no_temperature(bad):
    logits, labels = classified(5, sharper=1.0)
    logits[2, 1] = bad
    with np.errstate(invalid="ignore"):
        assert temperature.fit(temperature.softmax_loss(logits, labels=labels)) == 1.0


def test_no_temperature_changes_which_logit_is_the_largest():
    """Nor where two are neighbours among the numbers of float32."""
    rng = np.random.Generator(np.random.Philox(0))
    first = rng.normal(size=1000).astype(np.float32)
    logits = np.stack([first, np.nextafter(first, np.float32(9)), first], axis=1)
    for at in (0.05, 0.3, 1.7, 20.0):
        assert (temperature.divided(logits, at).argmax(axis=1) == 1).all()
