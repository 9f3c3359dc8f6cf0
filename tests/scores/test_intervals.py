"""Intervals and p-values: against exact ones where there are, and how often they are right."""

import numpy as np
import pytest

from bigjax.scores import intervals
from bigjax.scores.intervals import Parts

REPETITIONS = 1_000


def ones(num: int, *, of: int) -> Parts:
    return Parts.of(np.arange(of) < num, np.ones(of))


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def entities(draw: np.random.Generator, gold: np.ndarray, *, found: np.ndarray) -> Parts:
    """The F1 of a system that finds each of a sentence's gold entities with probability `found`,
    and takes something else for one the more often, the harder the sentence is."""
    correct = draw.binomial(gold, found)
    spurious = draw.binomial(gold, (1 - found) * 0.8) + draw.binomial(1, 0.02, len(gold))
    return Parts.of(2 * correct, correct + spurious + gold)


def sentences(draw: np.random.Generator, num: int, *, f1: float) -> tuple[np.ndarray, np.ndarray]:
    """Gold entities of sentences, and how probably each sentence's are found."""
    return draw.poisson(1.2, num), draw.beta(4 * f1, 4 * (1 - f1), num)


@pytest.mark.parametrize(("num", "of"), [(0, 12), (97, 100), (5, 9), (351, 360), (50, 50)])
def test_the_interval_of_an_accuracy_is_that_of_jeffreys(num, of):
    # Quantiles of Beta(num + 1/2, of - num + 1/2), the end at 0 or 1 where num is 0 or all.
    expected = {
        (0, 12): (0.0, 0.1815), (97, 100): (0.9221, 0.9915), (5, 9): (0.2542, 0.8273),
        (351, 360): (0.9549, 0.9876), (50, 50): (0.9515, 1.0),
    }[num, of]  # fmt: skip
    assert intervals.interval(ones(num, of=of)) == pytest.approx(expected, abs=0.01)


def test_a_score_is_the_mean_of_its_ratios_and_one_of_nothing_counts_nowhere():
    parts = Parts(
        kind=np.array([0, 1, 1, 2]),
        num=np.array([[2.0, 0, 0], [0, 1, 0], [1, 0, 0]]),
        den=np.array([[2.0, 0, 0], [1, 1, 0], [2, 0, 0]]),
    )
    assert intervals.value(parts) == pytest.approx((3 / 6 + 2 / 2) / 2)
    low, high = intervals.interval(parts)
    assert 0.2 < low < 0.75 < high < 1


def test_examples_without_anything_to_count_change_nothing():
    few = Parts.of([2, 0, 1, 2], [2, 1, 3, 2])
    more = Parts.of([2, 0, 1, 2] + [0] * 500, [2, 1, 3, 2] + [0] * 500)
    assert intervals.interval(more) == pytest.approx(intervals.interval(few), abs=0.02)


def test_the_same_seed_gives_the_same_draws_and_the_size_of_a_block_changes_none(monkeypatch):
    draw = rng(0)
    gold, found = sentences(draw, 300, f1=0.8)
    first, second = entities(draw, gold, found=found), entities(draw, gold, found=found)
    of_one, of_two = intervals.interval(first, seed=3), intervals.paired(first, second, seed=3)
    assert intervals.interval(first, seed=4) != of_one
    monkeypatch.setattr(intervals, "_BLOCK", 1_000)
    assert intervals.interval(first, seed=3) == pytest.approx(of_one, abs=1e-12)
    assert intervals.paired(first, second, seed=3) == pytest.approx(of_two, abs=1e-12)


def test_what_cannot_be_counted_is_nan_or_an_error():
    nothing = Parts.of(np.zeros(5), np.zeros(5))
    assert np.isnan(intervals.value(nothing))
    assert np.isnan(intervals.interval(nothing)).all()
    assert np.isnan(intervals.paired(nothing, nothing)).all()
    assert np.isnan(intervals.value(Parts.of([], [])))
    for num, den in (([2], [1]), ([-1], [1]), ([1, 1], [1]), ([[1]], [[1]])):
        with pytest.raises(ValueError, match="expected"):
            Parts.of(num, den)
    with pytest.raises(ValueError, match="the same examples"):
        intervals.paired(ones(1, of=3), ones(1, of=4))


def test_a_system_does_not_differ_from_itself():
    found = ones(70, of=100)
    difference, low, high, p_value = intervals.paired(found, found)
    assert difference == 0
    assert -0.05 < low < 0 < high < 0.05
    assert p_value == 1


@pytest.mark.parametrize("differ", [1, 5, 12])
def test_the_p_value_is_that_of_the_sign_test_where_one_is_better_wherever_they_differ(differ):
    worse, better = ones(60, of=100), ones(60 + differ, of=100)
    found = intervals.paired(better, worse)
    assert found.difference == pytest.approx(differ / 100)
    assert found.p_value == pytest.approx(2 * 0.5**differ, abs=0.01)
    assert found.low < found.difference < found.high
    turned = intervals.paired(worse, better)
    assert turned.p_value == pytest.approx(found.p_value, abs=0.01)
    assert (-turned.high, -turned.low) == pytest.approx((found.low, found.high), abs=0.02)


def test_pairing_sees_what_the_examples_share():
    """Two systems that are right on the same examples but for a few: the interval of their
    difference is narrow though that of each score is wide."""
    first, second = ones(50, of=100), ones(53, of=100)
    low, high = intervals.interval(first)
    found = intervals.paired(second, first)
    assert high - low > 0.18
    assert found.high - found.low < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("num", "f1"), [(100, 0.9), (300, 0.5), (500, 0.9), (1_000, 0.97)])
def test_intervals_hold_the_true_f1_93_to_97_times_in_100(num, f1):
    draw = rng(1 << 20)
    gold, found = sentences(draw, 2_000_000, f1=f1)
    true = intervals.value(entities(draw, gold, found=found))
    inside = 0
    for repetition in range(REPETITIONS):
        draw = rng(repetition)
        gold, found = sentences(draw, num, f1=f1)
        low, high = intervals.interval(entities(draw, gold, found=found), seed=repetition)
        inside += low <= true <= high
    assert 930 <= inside <= 970


@pytest.mark.slow
def test_intervals_of_a_difference_hold_the_true_one_93_to_97_times_in_100(monkeypatch):
    """The second system is worse: it finds 9 of 10 entities that the first would."""
    monkeypatch.setattr(intervals, "NUM_SWAPS", 1)
    inside = 0
    draw = rng(1 << 20)
    gold, found = sentences(draw, 2_000_000, f1=0.9)
    true = intervals.value(entities(draw, gold, found=found)) - intervals.value(
        entities(draw, gold, found=0.9 * found)
    )
    for repetition in range(REPETITIONS):
        draw = rng(repetition)
        gold, found = sentences(draw, 300, f1=0.9)
        first, second = (entities(draw, gold, found=p) for p in (found, 0.9 * found))
        _, low, high, _ = intervals.paired(first, second, seed=repetition)
        inside += low <= true <= high
    assert 930 <= inside <= 970


@pytest.mark.slow
def test_the_p_value_of_equal_systems_is_uniform(monkeypatch):
    """By Kolmogorov and Smirnov's distance, at the level of 1 in 1,000, of a score with many
    values. F1 repeats differences: it is below uniform nowhere, and close."""
    monkeypatch.setattr(intervals, "NUM_SWAPS", 999)
    shares, f1 = [], []
    for repetition in range(REPETITIONS):
        draw = rng(repetition)
        first, second = (Parts.of(draw.random(200), np.ones(200)) for _ in range(2))
        shares.append(intervals.paired(first, second, seed=repetition).p_value)
        gold, found = sentences(draw, 300, f1=0.9)
        first, second = (entities(draw, gold, found=found) for _ in range(2))
        f1.append(intervals.paired(first, second, seed=repetition).p_value)
    uniform = np.arange(1, REPETITIONS + 1) / REPETITIONS
    assert np.abs(np.sort(shares) - uniform).max() < 1.95 / np.sqrt(REPETITIONS)
    apart = np.sort(f1) - uniform
    assert -1.95 / np.sqrt(REPETITIONS) < apart.min()
    assert apart.max() < 0.1
