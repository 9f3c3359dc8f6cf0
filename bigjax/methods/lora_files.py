"""Owns what low-rank adapters are as arrays: their names, what they add to a kernel, and the base
that a run folder keeps of them. Training with them belongs to `lora.py`."""

import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from bigjax.errors import UserError
from bigjax.trees import flatten, nested

BASE_FILE = "base.safetensors"  # in the run folder: what was not trained, by name
A, B = "lora_a", "lora_b"


def read_base(run: str) -> dict[str, np.ndarray]:
    """Name -> array of what the run in `run` did not train; UserError where it cannot be read."""
    path = os.path.join(run, BASE_FILE)
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own, and what the disk says
        raise UserError(
            f"{path}: cannot be read ({error}); it is what the adapters of this run belong to: put "
            "it back from a copy, or start the run again where it has no checkpoint yet"
        ) from error


def merged(params: Any, base: Any, *, scale: float) -> dict[str, Any]:
    """A whole model's params, float32: of `base`, each kernel with what its adapter adds to it, and
    what of `params` was trained in full."""
    trained, whole = flatten(params), flatten(base)
    for name, a in trained.items():
        if name.endswith(f"/{A}"):
            module = name.removesuffix(A)
            product = jnp.einsum(
                "...dr,...rf->...df", a, trained[module + B], precision=jax.lax.Precision.HIGHEST
            )
            whole[f"{module}kernel"] = whole[f"{module}kernel"] + scale * product
        elif not name.endswith(f"/{B}"):
            whole[name] = trained[name]
    return nested(whole)


def merged_of_run(params: Any, *, run: str) -> Any:
    """The params of a checkpoint of the run in `run` as those of a whole model, numpy; themselves
    where it was trained without adapters."""
    settings = _settings(run)
    if settings.get("lora.rank") is None:
        return params
    scale = settings["lora.alpha"] / settings["lora.rank"]
    return jax.tree.map(np.asarray, merged(params, nested(read_base(run)), scale=scale))


def _settings(run: str) -> Mapping[str, Any]:
    try:
        with open(os.path.join(run, "config.json"), encoding="utf-8") as file:
            return json.load(file)["values"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}  # a folder of checkpoints alone
