"""When things are due, against the definition, and how steps are cut between them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigjax.loop.cadence import Cadence, is_due, spans


@pytest.mark.parametrize(
    ("every", "expected"), [(None, []), (4, [4, 8, 12]), (2.5, [3, 5, 8, 10]), (12, [12])]
)
def test_what_is_due_every_so_often_is_due_at_the_first_step_from_each_multiple(every, expected):
    assert [step for step in range(13) if is_due(every, step)] == expected


EVERY = st.none() | st.floats(0.5, 40) | st.integers(1, 40)


@given(EVERY, EVERY, st.integers(1, 40), st.integers(0, 60), st.integers(0, 60), st.integers(1, 9))
def test_steps_are_cut_where_something_is_due_and_nowhere_else(
    evaluate, save, log, first, more, most
):
    every = Cadence(evaluate=evaluate, save=save, save_seconds=math.inf, log=log)
    total = first + more
    found = list(spans(every, first=first, total=total, most=most))
    assert [step for span in found for step in span] == list(range(first, total))
    due = {step for step in range(total + 1) for x in (evaluate, save, log) if is_due(x, step)}
    for span in found:
        assert not due & set(span[1:])
        is_full = len(span) == most
        assert 1 <= len(span) <= most
        assert is_full or span.stop in due or span.stop == total
