"""Owns what happens when a loss or gradient is not finite: say which step and where, and keep the
evidence. No checkpoint is saved before the steps that led to it have passed this check."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.data.pipeline import global_batch
from bigjax.engine.build import Setup
from bigjax.errors import UserError, first_of
from bigjax.trees import leaf_names


class NonFiniteError(UserError):
    """Training stopped because a loss or a gradient was not finite."""

    exit_code = 3


def check_finite(
    setup: Setup, scalars: Sequence[Mapping[str, Any]], *, first_step: int, workdir: str
) -> None:
    """Raises NonFiniteError for the first step whose loss or gradient is not finite.

    Args:
      scalars: what the train step gave for consecutive steps from `first_step`, on the host.
    """
    for step, found in enumerate(scalars, first_step):
        if not found["is_finite"].all():
            _stop(setup, found["is_finite"], step=step, workdir=workdir)


def check_params(params: Any, *, step: int) -> None:
    """Raises NonFiniteError where the parameters that a checkpoint is about to keep are not finite:
    the last update overflowed, though its loss and gradients were finite."""
    finite = jax.device_get(_leaves_are_finite(params))
    bad = [name for name, good in zip(leaf_names(params), finite, strict=True) if not good]
    if bad:
        raise NonFiniteError(
            f"step {step - 1}: its update made parameters that are not finite: {first_of(bad)}; "
            "the last checkpoint is intact; try a lower optim.learning_rate or a longer warm-up"
        )


@jax.jit
def _leaves_are_finite(params: Any) -> list[jax.Array]:
    return [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]


def _stop(setup: Setup, is_finite: np.ndarray, *, step: int, workdir: str) -> None:
    dataset = setup.task.data.train
    path = os.path.join(workdir, f"nonfinite_batch_{step}.npz")
    if jax.process_index() == 0:
        np.savez(path, **global_batch(dataset, step=step, rows=np.arange(dataset.batch_rows)))
    names = ["the loss", *(f"gradient of {name}" for name in leaf_names(setup.state.params))]
    bad = [name for name, finite in zip(names, is_finite, strict=True) if not finite]
    raise NonFiniteError(
        f"step {step}: not finite: {first_of(bad)}; its batch is in {path}, the last checkpoint is "
        "intact; try a lower optim.learning_rate or a longer warm-up"
    )
