"""Owns what whole runs in one process share: a config is built once, whoever trains it.

A task and its programs are pure functions, so a run cannot tell. That a process which builds them
itself ends in the same run is proven by the tests that start processes.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from bigjax.config.values import Config
from bigjax.engine import build, sharding
from bigjax.modes import train

_build, _make_eval_step = build.build, build.make_eval_step
_setups: dict[Any, build.Setup] = {}
_eval_steps: dict[Any, Any] = {}


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """For configs whose data is made by the program: files could change between two builds."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (build, train):
            patch.setattr(module, "build", _built)
        patch.setattr(build, "make_eval_step", _made_eval_step)
        yield


def _built(config: Config) -> build.Setup:
    if config["data"]["source"] not in ("news", "digits"):
        return _build(config)
    key = repr(sorted(config.flat().items())), sharding.make_mesh
    if key not in _setups:
        _setups[key] = _build(config)
    return _setups[key]._replace(config=config)


def _made_eval_step(task, *, mesh):
    key = id(task), mesh
    if key not in _eval_steps:
        _eval_steps[key] = task, _make_eval_step(task, mesh=mesh)  # the task, so that it lives
    return _eval_steps[key][1]
