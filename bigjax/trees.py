"""Owns the names of a tree's leaves and the one rule idiom: ordered `[(regex, value)]`, first match
wins, a leaf that no rule matches is an error that names it.

Learning-rate multipliers, weight decay, freezing and sharding are all such rules.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from bigjax.errors import UserError

Rules = Sequence[tuple[str, Any]]


def leaf_names(tree: Any) -> list[str]:
    """Names such as `encoder/layer_0/mlp/up/kernel`, in the order of `jax.tree.leaves`."""
    return [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def flatten(tree: Any, *, is_leaf: Callable[[Any], bool] | None = None) -> dict[str, Any]:
    """Name of each leaf to the leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return {_name(path): leaf for path, leaf in leaves}


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The dicts in dicts that `flatten` makes such names of."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *scope, last = name.split("/")
        node = tree
        for key in scope:
            node = node.setdefault(key, {})
        node[last] = leaf
    return tree


def map_named(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Like `jax.tree.map`, with each leaf's name as the first argument of `fn`."""
    return jax.tree_util.tree_map_with_path(lambda path, *xs: fn(_name(path), *xs), tree, *rest)


def match_rules(tree: Any, *, rules: Rules, what: str, strict: bool = True) -> Any:
    """A tree like `tree` that holds, for each leaf, the value of the first rule whose regex matches
    the whole of its name.

    Args:
      what: what the rules decide, for the message ("sharding").
      strict: a rule that matches no leaf is an error; not for rules that the user did not write.
    Raises:
      UserError: a leaf that no rule matches, a rule that matches no leaf, or a broken regex.
    """
    patterns = [(_compile(regex, what=what), value) for regex, value in rules]
    names = leaf_names(tree)
    for pattern, _ in patterns if strict else ():
        if pattern.pattern != ".*" and not any(pattern.fullmatch(name) for name in names):
            raise UserError(
                f"{what} rule {pattern.pattern!r} matches no parameter; names look like "
                f"{names[0]!r} and {names[-1]!r} (the regex must match the whole name)"
            )

    def first_match(name: str, _: Any) -> Any:
        for pattern, value in patterns:
            if pattern.fullmatch(name):
                return value
        raise UserError(
            f"no {what} rule matches parameter {name!r}; add one, such as ('.*', ...) at the end"
        )

    return map_named(first_match, tree)


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _compile(regex: str, *, what: str) -> re.Pattern[str]:
    try:
        return re.compile(regex)
    except re.error as error:
        raise UserError(f"{what} rule {regex!r} is not a regular expression: {error}") from error
