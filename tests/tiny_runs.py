"""Owns a run of some seconds, in this process or in one of its own, for tests of what happens to
runs; what to change in it, and what makes two of them the same."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
import pytest
import warm
from conftest import xla_flags
from jax.sharding import Mesh

from bigjax.checkpoints import manifest
from bigjax.config import values as configs
from bigjax.engine import build, settings, sharding
from bigjax.modes import train

NUM_STEPS = 24
TINY = f"""
import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "image_classification"
    config.num_steps = {NUM_STEPS}
    config.data = {{"source": "digits", "num_dev": 64, "num_test": 32}}
    config.augment = {{"pad_crop": 1}}
    config.model = {{"name": "small_cnn", "padding": 1}}
    config.batch = {{"rows": 16}}
    config.optim = {{"name": "adam", "learning_rate": 3e-3}}
    config.eval = {{"every_steps": 8}}
    config.checkpoint = {{"every_steps": 5, "every_minutes": None, "keep_latest": 2}}
    config.log = {{"every_steps": 1, "batches": True}}
    return config
"""
TIMING = ("_per_second", "input_wait")
SECONDS = 600  # after which a process that should have ended fails its test
CHANGED = """
import itertools, os, signal, sys, threading, time
import jax
import main
from bigjax.loop import loop
from bigjax.modes import train
{change}
sys.exit(main.main(sys.argv[1:]))
"""


def one_device(spec: str) -> Mesh:  # noqa: ARG001
    return Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), sharding.AXES)


def config_in(folder: Path) -> Path:
    """The config file of all these runs, written to a folder."""
    file = folder / "tiny.py"
    file.write_text(TINY, encoding="utf-8")
    return file


def load(file: Path, overrides=()) -> configs.Config:
    return configs.load(str(file), overrides=dict(overrides), schema=settings.schema)


def train_in(workdir: Path, overrides=(), **told) -> dict[str, float]:
    """Trains, or resumes, in this process and on one device; told: as `train` takes it."""
    file = config_in(workdir.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        return train.train(load(file, overrides), workdir=str(workdir), **told)


def history_of(workdir: Path) -> dict:
    """All that a run leaves behind but its times: hashes of the arrays and what is known beside
    them, metrics, batches, scores."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    last = manifest.read(str(workdir / "checkpoints" / str(NUM_STEPS)))
    return {
        "arrays": last.arrays,
        "facts": (last.facts, last.score),
        "metrics": [{k: v for k, v in x.items() if not k.endswith(TIMING)} for x in lines],
        "batches": (workdir / "batches.jsonl").read_text().splitlines(),
        "results": json.loads((workdir / "results.json").read_text()) | {"title": None},
    }


def assert_same_run(workdir: Path, expected: Path) -> None:
    found, wanted = history_of(workdir), history_of(expected)
    for part in wanted:
        assert found[part] == wanted[part], part


def at_call(function: Callable, *, number: int, act: Callable[[], None]) -> Callable:
    """`function`, which calls `act` first when it is called for the `number`-th time."""
    calls = iter(range(1, 10**9))

    def acting(*args, **kwargs):
        if next(calls) == number:
            act()
        return function(*args, **kwargs)

    return acting


def change_setup(patch, change):
    original = build.build
    patch.setattr(train, "build", lambda config: change(original(config)))


def change_scorer(patch, change):
    original = build.Setup.scorer
    patch.setattr(build.Setup, "scorer", lambda setup: change(original(setup)))


def run_main(
    workdir: Path, *, change: str | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """The exit code and the printed lines of the command of these runs, in a changed program."""
    child = start_main(workdir, change=change, env=env)
    return child.wait(SECONDS), output_of(workdir).splitlines()


def start_main(
    workdir: Path, *, change: str | None = None, env: Mapping[str, str] | None = None
) -> warm.Child:
    output = Path(f"{workdir}.txt")
    output.write_text("")
    flags = (f"--config={workdir.parent}/tiny.py", f"--workdir={workdir}")
    return start_changed(*flags, change=change, output=output, env=env)


def start_changed(
    *flags: str, change: str | None, output: Path, env: Mapping[str, str] | None = None
) -> warm.Child:
    """A process of main.py, on one device; change: Python that is run first."""
    program = change and CHANGED.format(change=change)
    given = one_device_environment() if env is None else env
    return warm.start(*flags, program=program, output=output, env=given)


def one_device_environment() -> dict[str, str]:
    return os.environ | {"XLA_FLAGS": xla_flags(1)}


def output_of(workdir: Path) -> str:
    return Path(f"{workdir}.txt").read_text(encoding="utf-8")


def wait_until(is_so: Callable[[], bool], child: warm.Child) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
