"""Names of leaves, and rules over them: the first match wins and nothing is passed over."""

import itertools
import re
from typing import NamedTuple

import jax
import numpy as np
import pytest

from bigjax.errors import UserError
from bigjax.trees import leaf_names, map_named, match_rules

PARAMS = {
    "encoder": {
        "layer_0": {"up": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}},
        "norm": {"scale": np.ones(2), "bias": np.ones(2)},
    },
    "head": {"kernel": np.ones((2, 5)), "bias": np.ones(5)},
}
NAMES = [
    "encoder/layer_0/up/bias",
    "encoder/layer_0/up/kernel",
    "encoder/norm/bias",
    "encoder/norm/scale",
    "head/bias",
    "head/kernel",
]


class Pair(NamedTuple):
    left: int
    right: list[int]


def by_name(tree) -> dict:
    return dict(zip(leaf_names(tree), jax.tree.leaves(tree), strict=True))


def test_leaves_are_named_by_their_path_in_the_order_of_jax():
    assert leaf_names(PARAMS) == NAMES
    assert leaf_names(Pair(1, [2, 3])) == ["left", "right/0", "right/1"]
    assert leaf_names({}) == []


def test_mapping_with_names_gives_each_leaf_its_own_name_and_its_partners():
    sizes = jax.tree.map(np.size, PARAMS)
    found = map_named(lambda name, leaf, size: (name, leaf.shape, size), PARAMS, sizes)
    is_leaf = lambda x: isinstance(x, tuple)  # noqa: E731
    assert jax.tree.leaves(found, is_leaf=is_leaf) == [
        (name, leaf.shape, leaf.size) for name, leaf in zip(NAMES, jax.tree.leaves(PARAMS))
    ]


def test_the_first_rule_that_matches_a_whole_name_decides():
    rules = [(".*/bias", "b"), ("encoder/.*", "e"), ("(head|encoder)/kernel", "k"), (".*", "-")]
    assert by_name(match_rules(PARAMS, rules=rules, what="test")) == {
        "encoder/layer_0/up/bias": "b",
        "encoder/layer_0/up/kernel": "e",
        "encoder/norm/bias": "b",
        "encoder/norm/scale": "e",
        "head/bias": "b",
        "head/kernel": "k",
    }


REGEXES = [".*", ".*bias", ".*kernel", "encoder/.*", "head/.*", "bias", "encoder|head/kernel"]


@pytest.mark.parametrize("first", REGEXES)
def test_rules_do_what_a_plain_loop_over_names_and_rules_does(first):
    for others in itertools.product(REGEXES, repeat=2):
        assert_like_a_plain_loop([first, *others])


def assert_like_a_plain_loop(regexes: list[str]) -> None:
    expected: dict[str, int] = {}
    for name in NAMES:
        for number, regex in enumerate(regexes):
            if name not in expected and re.fullmatch(regex, name):
                expected[name] = number
    idle = [r for r in regexes if r != ".*" and not any(re.fullmatch(r, n) for n in NAMES)]
    rules = [(regex, number) for number, regex in enumerate(regexes)]
    if idle or len(expected) < len(NAMES):
        with pytest.raises(UserError):
            match_rules(PARAMS, rules=rules, what="test")
    else:
        assert by_name(match_rules(PARAMS, rules=rules, what="test")) == expected


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([(".*bias", 0.0)], "no decay rule matches parameter 'encoder/layer_0/up/kernel'; add"),
        ([], "no decay rule matches parameter 'encoder/layer_0/up/bias'; add"),
        (
            [("kernel", 0.0), (".*", 1.0)],
            "decay rule 'kernel' matches no parameter; names look like 'encoder/layer_0/up/bias' "
            "and 'head/kernel' (the regex must match the whole name)",
        ),
        ([("(head", 0.0)], "decay rule '(head' is not a regular expression: missing"),
    ],
    ids=["leaf without a rule", "no rules", "rule without a leaf", "broken regex"],
)
def test_rules_that_do_not_fit_are_errors_that_name_the_leaf_or_the_rule(rules, message):
    with pytest.raises(UserError) as error:
        match_rules(PARAMS, rules=rules, what="decay")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
