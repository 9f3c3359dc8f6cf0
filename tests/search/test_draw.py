"""What a trial tries: a pure function of the seed, its number and the finished trials."""

import itertools

import pytest

from bigjax.config.ranges import Range
from bigjax.errors import UserError
from bigjax.search import draw

optuna = pytest.importorskip("optuna", reason="needs pip install 'bigjax[search]'")

SPACE = {
    "optim.learning_rate": Range("log", (1e-5, 1e-1)),
    "optim.clip_norm": Range("choice", (None, 1.0)),
    "model.widths": Range("choice", ((8, 16), (16, 32))),
    "seed": Range("uniform", (0, 9), is_whole=True),
    "share": Range("uniform", (0.2, 0.4)),
}
TPE = {"space": SPACE, "seed": 7, "direction": "maximize"}


def finished(number: int) -> list:
    trials = []
    for i in range(number):
        params = draw.draw("tpe", number=i, finished=trials, **TPE)
        score = -abs(params["optim.learning_rate"] - 1e-3)
        distributions = draw.distributions(SPACE)
        trials.append(
            optuna.trial.create_trial(params=params, distributions=distributions, value=score)
        )
    return trials


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_draw_depends_on_nothing_that_came_before_it_in_the_process(method):
    past = finished(13)
    first = draw.draw(method, number=13, finished=past, **TPE)
    draw.draw(method, number=14, finished=past, **TPE)
    assert draw.draw(method, number=13, finished=past, **TPE) == first
    assert draw.draw(method, number=14, finished=past, **TPE) != first
    assert draw.draw(method, number=13, finished=past, **TPE | {"seed": 8}) != first


def test_draws_lie_in_their_ranges_and_go_back_to_values_of_the_settings():
    for number in range(30):
        params = draw.draw("random", number=number, finished=[], **TPE)
        found = draw.settings_of(params, SPACE)
        assert list(found) == list(SPACE)
        assert 1e-5 <= found["optim.learning_rate"] <= 1e-1 and 0.2 <= found["share"] <= 0.4
        assert found["optim.clip_norm"] in (None, 1.0)
        assert found["model.widths"] in ((8, 16), (16, 32))
        assert type(found["seed"]) is int and 0 <= found["seed"] <= 9


def test_tpe_learns_from_what_came_of_earlier_trials():
    late = [trial.params["optim.learning_rate"] for trial in finished(40)[20:]]
    assert sum(1e-4 < rate < 1e-2 for rate in late) >= 15  # of a random draw 10


def test_a_grid_is_every_combination_in_order():
    space = {"a": Range("choice", (1, 2)), "b": Range("choice", ("x", "y", "z"))}
    assert draw.grid_size(space) == 6
    found = [
        tuple(draw.draw("grid", number=i, finished=[], **TPE | {"space": space}).values())
        for i in range(6)
    ]
    assert found == list(itertools.product((1, 2), "xyz"))
    with pytest.raises(UserError, match=r"search.space.optim.learning_rate is no \('choice'"):
        draw.grid_size(SPACE)
