"""Which trial is best, and which is ended early."""

import math
import statistics

from hypothesis import given
from hypothesis import strategies as st

from bigjax.search.trials import Trial, best_of, is_hopeless

scores = st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=5)


def trial(number, reported, *, state="trained", score=None):
    return Trial(number, state, {}, score, dict(enumerate(reported)))


def test_the_best_is_the_first_of_the_best_score_in_either_direction():
    found = [trial(i, [], score=score) for i, score in enumerate((0.5, 0.9, 0.1, 0.9, 0.1))]
    found += [trial(5, [1.0], state="pruned"), trial(6, [], state="failed")]
    assert best_of(found, higher_is_better=True).number == 1
    assert best_of(found, higher_is_better=False).number == 2
    assert best_of(found[5:], higher_is_better=True) is None


@given(own=scores, others=st.lists(scores, max_size=7), after=st.integers(1, 4))
def test_a_trial_is_ended_below_the_median_of_the_best_scores_so_far(own, others, after):
    def best(values):
        return max(-math.inf if math.isnan(x) else x for x in values)

    at = [best(values[: len(own)]) for values in others if len(values) >= len(own)]
    expected = len(others) >= after and len(own) > 1 and bool(at)
    expected = expected and best(own) < statistics.median(at)
    rule = {"step": len(own) - 1, "after": after, "warmup": 1}
    trained = [trial(i, values) for i, values in enumerate(others)]
    mine = trial(99, own, state="running")
    assert is_hopeless(mine, others=trained, higher_is_better=True, **rule) == expected
    # Where lower is better, the same of the negated scores.
    negated = [one._replace(reported={k: -v for k, v in one.reported.items()}) for one in trained]
    mine = mine._replace(reported={k: -v for k, v in mine.reported.items()})
    assert is_hopeless(mine, others=negated, higher_is_better=False, **rule) == expected


def test_what_was_reported_of_later_steps_before_a_kill_does_not_count():
    others = [trial(i, [0.5, 0.6]) for i in range(3)]
    mine = trial(3, [0.1, 0.9], state="running")
    rule = {"higher_is_better": True, "after": 1, "warmup": 0}
    assert is_hopeless(mine, others=others, step=0, **rule)
    assert not is_hopeless(mine, others=others, step=1, **rule)


def test_trials_that_were_ended_early_do_not_count_among_the_others():
    others = [trial(i, [0.9], state="pruned") for i in range(9)] + [trial(9, [0.1])]
    mine = trial(10, [0.2], state="running")
    assert not is_hopeless(mine, others=others, step=0, higher_is_better=True, after=1, warmup=0)
