"""Owns finding a trained model: a run, or a Hugging Face folder or name with a head that a task of
ours knows; its settings and its parameters.

What a task needs of its files is the task's own (`Entry.load`)."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.config import values as configs
from bigjax.config.sections import Evaluation
from bigjax.config.values import Config
from bigjax.engine import settings
from bigjax.engine.scorer import Scorer
from bigjax.errors import UserError
from bigjax.loop.starting_points import trained
from bigjax.models import origins
from bigjax.run_folder import folder as run_folder
from bigjax.tasks import TASKS
from bigjax.trees import leaf_names

# Of a Hugging Face folder nothing is trained here: these are never asked for.
_NOT_ASKED = {"optim.name": "adamw", "optim.learning_rate": 0.0, "schedule.name": "constant"}
ANY_MESH = {"mesh": "data=-1"}  # of what was trained on many devices, one is enough to use it


class Opened(NamedTuple):
    """A trained model. folder: where its files are. is_run: whether it is a run of ours."""

    config: Config
    folder: str
    is_run: bool


def open_trained(place: str, *, overrides: Mapping[str, str]) -> Opened:
    """The settings of a run, or those that a Hugging Face folder or hub name (NAME, NAME@REVISION)
    comes to.

    Args:
      overrides: dotted setting -> text, as after --config.
    Raises:
      UserError: neither of them; a setting that is none.
    """
    overrides = {**ANY_MESH, **overrides}
    path = os.path.expanduser(place)
    if is_run(path):
        record = run_folder.read_config_record(path)
        where = os.path.join(path, "config.json")
        config = configs.from_record(
            record, path=where, overrides=overrides, schema=settings.schema
        )
        return Opened(config, path, True)
    folder = origins.find_folder(place, setting="--workdir").folder
    values = {
        "task": _task_of(folder), "init.checkpoint": folder, **_NOT_ASKED,
        "data.source": "files", "data.train": "",
    }  # fmt: skip
    record = {"values": values, "origins": dict.fromkeys(values, "file"), "file": place}
    config = configs.from_record(record, path=place, overrides=overrides, schema=settings.schema)
    return Opened(config, folder, False)


def variables_of(scorer: Scorer, opened: Opened) -> tuple[Any, int]:
    """What is scored or used, as `scorer.eval_step` takes it, and the step of a run, else 0.

    Raises:
      UserError: no checkpoint, or weights that cannot be read or are not all there.
    """
    if opened.is_run:
        which = opened.config.of(Evaluation).final
        return trained(scorer, workdir=opened.folder, which=which)
    assert scorer.task.model.pretrained is not None
    found = {"params": scorer.task.model.pretrained().params}
    there = dict(zip(leaf_names(found), jax.tree.leaves(found)))

    def put(name: str, like: Any) -> jax.Array:
        if name not in there or there[name].shape != like.shape:
            raise UserError(f"--workdir={opened.folder}: {name} {like.shape} is not there")
        return jax.device_put(np.asarray(there[name], like.dtype), like.sharding)

    leaves = [
        put(name, like)
        for name, like in zip(leaf_names(scorer.variables), jax.tree.leaves(scorer.variables))
    ]
    found = jax.tree.unflatten(jax.tree.structure(scorer.variables), leaves)
    return scorer.prepare(found), 0


def is_run(path: str) -> bool:
    """Runs and Hugging Face folders both have a config.json."""
    return "origins" in _config(path) or os.path.isdir(os.path.join(path, "checkpoints"))


def _config(folder: str) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _task_of(folder: str) -> str:
    """The task whose models are called as the folder's config.json calls its architecture."""
    architectures = _config(folder).get("architectures") or []
    for name, entry in TASKS.items():
        if any(a.endswith(tuple(getattr(entry, "HEADS", ()))) for a in map(str, architectures)):
            return name
    heads = [head for entry in TASKS.values() for head in getattr(entry, "HEADS", ())]
    raise UserError(
        f"--workdir={folder}: neither a run nor a Hugging Face folder that can be used (its "
        f"architecture is {', '.join(map(str, architectures)) or 'not said'}); expected a run, or "
        f"...{' or ...'.join(heads)}"
    )
