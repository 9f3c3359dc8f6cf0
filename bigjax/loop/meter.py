"""Owns the scalars of the steps since the last log line, and how fast these steps were."""

import time
from collections.abc import Mapping
from typing import Any

import jax

from bigjax.config.sections import Run
from bigjax.data.pipeline import Prefetch
from bigjax.engine.build import Setup
from bigjax.loop.nonfinite import check_finite
from bigjax.processes.dispatch import in_order


class Meter:
    """The scalars of the steps since the last log line, still on the device, and their throughput.
    Evaluation and saving are not on its clock."""

    def __init__(self, setup: Setup, batches: Prefetch, *, workdir: str, step: int):
        self._setup, self._batches, self._workdir = setup, batches, workdir
        self._step = step  # the number of the next step
        self._pending: list[Any] = []  # on their way
        self._done: list[Any] = []  # on the host and finite
        self._seconds = self._waited = 0.0
        self.restart_clock()

    def restart_clock(self) -> None:
        self._began, self._waited_before = time.perf_counter(), self._batches.waited

    def add(self, scalars: Mapping[str, jax.Array], *, steps: range) -> None:
        """What the train step gave for `steps`."""
        in_order(scalars)
        self._pending.append((scalars, len(steps)))

    def wait(self) -> None:
        """Waits for the steps on their way. Raises NonFiniteError for the first bad one."""
        found = [s for scalars in jax.device_get(self._pending) for s in self._by_step(*scalars)]
        self._seconds += time.perf_counter() - self._began
        self._waited += self._batches.waited - self._waited_before
        self.restart_clock()
        check_finite(self._setup, found, first_step=self._step, workdir=self._workdir)
        self._step += len(found)
        self._done += found
        self._pending = []

    def _by_step(self, scalars: dict[str, Any], num_steps: int) -> list[dict[str, Any]]:
        if self._setup.config.of(Run).steps_per_dispatch == 1:
            return [scalars]
        return [{name: x[i] for name, x in scalars.items()} for i in range(num_steps)]

    def measure(self) -> dict[str, float]:
        """The scalars of the last step; and since the last call, per second, what the task counts
        and floating-point operations, the share of time spent waiting for input, and the share of
        an epoch's rows that is real."""
        self.wait()
        steps, seconds = self._done, self._seconds
        counts = {name: sum(float(s[name]) for s in steps) for name in steps[0] if _is_count(name)}
        found = {
            name: float(value)
            for name, value in steps[-1].items()
            if name != "is_finite" and not _is_count(name)
        }
        found |= {f"{name[4:]}_per_second": count / seconds for name, count in counts.items()}
        found["flops_per_second"] = self._setup.flops * len(steps) / seconds
        found["input_wait"] = self._waited / seconds
        found["fill"] = self._setup.task.data.train.fill
        self._done, self._seconds, self._waited = [], 0.0, 0.0
        return found


def _is_count(name: str) -> bool:
    return name.startswith("num_")
