"""Owns what a method that changes the gradient is given, and what it returns."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from bigjax.scores.metrics import Mean

# (trained params, model_state, rows) -> (loss to be minimised, (sums, new model_state)). Params are
# the list of leaves that are trained; rows are a batch, or a part of one.
Objective = Callable[[list[Any], Any, Any], tuple[jax.Array, tuple[Mapping[str, Mean], Any]]]
# The same arguments -> (gradient, a list like params, (sums, new model_state)).
Gradient = Callable[[list[Any], Any, Any], tuple[list[Any], tuple[Mapping[str, Mean], Any]]]
# (objective, the key of the update) -> its gradient
Differentiate = Callable[[Objective, jax.Array], Gradient]


def plain(objective: Objective, key: jax.Array) -> Gradient:  # noqa: ARG001
    """The gradient itself."""
    return jax.grad(objective, has_aux=True)
