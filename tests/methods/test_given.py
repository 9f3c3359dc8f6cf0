"""Given parameters by name and shape: what has a place in a model, and what is said of it."""

import jax
import numpy as np
import pytest

from bigjax.errors import UserError
from bigjax.methods import given
from bigjax.tasks.task import Pretrained


def shapes(**leaves: tuple[int, ...]) -> dict:
    return {"params": {k: jax.ShapeDtypeStruct(shape, np.float32) for k, shape in leaves.items()}}


def arrays(**leaves: tuple[int, ...]) -> dict:
    return {"params": {k: np.ones(shape, np.float32) for k, shape in leaves.items()}}


def test_what_matched_is_taken_and_what_is_missing_or_dropped_is_said():
    variables = arrays(body=(2, 3), head=(3, 5), extra=(4,))
    wanted = shapes(body=(2, 3), head=(3, 7))
    found, report = given.match(Pretrained(**variables, source="there"), wanted=wanted)
    assert found == {"params": {"body": variables["params"]["body"], "head": None}}
    assert report == (
        "init.checkpoint=there: 1 of 2 arrays matched; 1 missing, which start at random "
        "(params/head); 2 dropped (params/extra (4,), params/head (3, 5))"
    )


def test_what_else_is_to_be_said_ends_the_line():
    _, report = given.match(
        Pretrained(**arrays(body=(2,)), source="there", note="its head is not taken"),
        wanted=shapes(body=(2,)),
    )
    assert report == "init.checkpoint=there: 1 of 1 arrays matched; its head is not taken"


def test_a_long_list_is_cut_to_its_first_three():
    names = {f"layer_{i}": (1,) for i in range(5)}
    _, report = given.match(
        Pretrained(**arrays(body=(2,), **names), source="there"), wanted=shapes(body=(2,))
    )
    dropped = "params/layer_0 (1,), params/layer_1 (1,), params/layer_2 (1,) and 2 more"
    assert report == f"init.checkpoint=there: 1 of 1 arrays matched; 5 dropped ({dropped})"


@pytest.mark.parametrize(("there", "num"), [({"a": (2,)}, "none"), ({"b": (2,)}, "1")])
def test_where_less_than_half_matches_one_line_says_what_there_is_and_what_is_missing(there, num):
    """An encoder that would mostly start at random is not the one that was asked for."""
    wanted = shapes(a=(3,), b=(2,), c=(1,))
    with pytest.raises(UserError) as error:
        given.match(Pretrained(**arrays(**there), source="there"), wanted=wanted)
    assert str(error.value).startswith(
        f"init.checkpoint=there: {num} of its 1 arrays has the name and shape of one of this "
        "model's 3; missing are params/a, "
    )
    assert f"it has params/{[*there][0]}; give a model" in str(error.value)
