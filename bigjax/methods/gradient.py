"""Owns what a method that changes the gradient is given, and what it returns."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from bigjax.scores.metrics import Mean

# (trained params, model_state, rows) -> (loss to be minimised, (sums, new model_state)). Params are
# the list of leaves that are trained; rows are a batch, or a part of one.
Objective = Callable[[list[Any], Any, Any], tuple[jax.Array, tuple[Mapping[str, Mean], Any]]]
# The same arguments -> (gradient, a list like params, (sums, new model_state)).
Gradient = Callable[[list[Any], Any, Any], tuple[list[Any], tuple[Mapping[str, Mean], Any]]]


def plain(objective: Objective, key: jax.Array) -> Gradient:  # noqa: ARG001
    """The gradient itself."""
    return jax.grad(objective, has_aux=True)


class Gradients(NamedTuple):
    """How the gradient of an update comes about.

    of: (objective, the key of the update) -> its gradient. The objective is a sum over rows, or a
      mean; where `mean` is given, a mean.
    mean: (the sum of what `of` gives for the parts of a batch, the key of the update) -> the
      gradient of the update; None: that sum over what counts in the batch.
    whole: whether `of` asks for all rows of a batch at once.
    notes: what it costs or promises, lines for the start of training.
    facts: (name, value) of these, for `--mode=check` and the report's data card.
    """

    of: Callable[[Objective, jax.Array], Gradient] = plain
    mean: Callable[[list[Any], jax.Array], list[Any]] | None = None
    whole: bool = False
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


PLAIN = Gradients()
