"""Owns the mean of several checkpoints (Izmailov et al. 2018, Wortsman et al. 2022)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from bigjax.checkpoints import restore
from bigjax.errors import UserError
from bigjax.trees import leaf_names


def mean_of(folders: Sequence[str]) -> tuple[dict[str, Any], list[int]]:
    """Parameters and the model's other collections, {"params": ..., "model_state": ...}, as they
    are scored: the mean of several, added up in float64 and rounded once, to float32; and the step
    of each.

    Args:
      folders: of checkpoints, or of runs, of which the best one is taken or else the latest.
    Raises:
      UserError: one that cannot be read, or whose arrays have other names or shapes.
    """
    total: Any = None
    steps = []
    for folder in folders:
        params, model_state, step = restore.read_params(folder)
        one = {"params": params} | ({"model_state": model_state} if model_state else {})
        steps.append(step)
        if total is None:
            total = jax.tree.map(lambda x: x.astype(np.float64), one)
            continue
        _check_alike(one, like=total, folders=(folder, folders[0]))
        total = jax.tree.map(np.add, total, one)
    return jax.tree.map(lambda x: (x / len(folders)).astype(np.float32), total), steps


def _check_alike(one: Any, *, like: Any, folders: tuple[str, str]) -> None:
    shapes = [_shapes(tree) for tree in (one, like)]
    for name in {**shapes[0], **shapes[1]}:
        found, wanted = (of.get(name, "absent") for of in shapes)
        if found != wanted:
            raise UserError(
                f"--runs: {name} is {found} in {folders[0]} and {wanted} in {folders[1]}; expected "
                "models of the same architecture and size"
            )


def _shapes(tree: Any) -> Mapping[str, Any]:
    return dict(zip(leaf_names(tree), (tuple(x.shape) for x in jax.tree.leaves(tree))))
