"""Owns W&B and MLflow as writers beside the others, for runs whose `log.trackers` names them.

Each works in a thread of its own, where it may be slow, hang or fail: the run waits for none of it,
is told of the first failure in one line, and goes on without. Both write into the run folder unless
their own environment variables say otherwise; neither needs a network for that.
"""

import functools
import importlib.util
import json
import logging
import math
import os
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bigjax.errors import UserError
from bigjax.run_folder.folder import write_text
from bigjax.run_folder.writers import lines_up_to

CLOSE_SECONDS = 120.0  # that the end of a run waits for what a tracker has yet to write
_NUM_PARAMS, _NUM_METRICS = 100, 1000  # that MLflow takes at once
_WRITE_SECONDS = 5.0  # MLflow writes no more often: each time is a request, or waits for the disk
PROJECT = "bigjax"


class _Begin(NamedTuple):
    """What a tracker's run begins with. written: what is in metrics.jsonl, step and scalars: a run
    that was killed may not have handed it on."""

    workdir: str
    hparams: Mapping[str, Any]
    written: Sequence[tuple[int, Mapping[str, float]]]


def trackers_of(
    names: Sequence[str], *, workdir: str, hparams: Mapping[str, Any]
) -> list["Tracker"]:
    """A writer for each tracker; a resumed run goes on with the tracker's run.

    Args:
      hparams: the run's settings, which a tracker's run begins with.

    Raises:
      UserError: a package is not installed.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            missing = f"log.trackers={name!r} needs the package {name!r}"
            raise UserError(f"{missing}: pip install 'bigjax[{name}]'")
    begin = _Begin(workdir, hparams, list(_written(workdir)) if names else [])
    return [Tracker(name, functools.partial(_MAKE[name], begin)) for name in names]


class Tracker:
    """A writer that is made, called and closed in a thread of its own, by the methods of CLU's
    writers that trackers have a use for."""

    def __init__(self, name: str, make: Callable[[], Any]):
        self._name, self._make = name, make
        self._calls: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        numbers = {name: float(value) for name, value in scalars.items()}
        self._calls.put(("write_scalars", (int(step), numbers)))

    def flush(self) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        self._calls.put(("close", ()))
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._warn(f"had not written everything {CLOSE_SECONDS:.0f} s after the end")

    def _work(self) -> None:
        method = ""
        try:
            writer = self._make()
            while method != "close":
                method, arguments = self._calls.get()
                getattr(writer, method)(*arguments)
        except (
            Exception
        ) as error:  # whatever a network, a server or a disk of theirs makes them raise
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._warn(f"failed ({what}); the run goes on without it")

    def _warn(self, what: str) -> None:
        print(f"warning: log.trackers: {self._name} {what}", file=sys.stderr, flush=True)


class WandB:
    """A run of W&B: offline, in the run folder's wandb/, unless WANDB_MODE says otherwise."""

    def __init__(self, begin: _Begin):
        workdir = begin.workdir
        import wandb

        was = _kept(workdir, ".wandb_run")
        run_id = was or uuid.uuid4().hex[:12]
        self._run = wandb.init(
            mode=os.environ.get("WANDB_MODE", "offline"),
            dir=workdir,
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run_id,
            resume="allow",
            name=os.path.basename(os.path.abspath(workdir)),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        # Its own steps only go up; the scores of the best checkpoint come last and are of an
        # earlier step.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        if was is None:
            self._run.config.update(dict(begin.hparams))
            for step, scalars in begin.written:
                self.write_scalars(step, scalars)
            _keep(workdir, ".wandb_run", run_id)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log({"step": step, **scalars})

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of MLflow: in the run folder's mlflow.db (SQLite), unless MLFLOW_TRACKING_URI says
    otherwise."""

    def __init__(self, begin: _Begin):
        workdir = begin.workdir
        import mlflow
        from mlflow import entities

        self._entities = entities
        local = f"sqlite:///{os.path.abspath(workdir)}/mlflow.db"
        for chatty in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        self._client = mlflow.MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        self._known: dict[str, set[int]] = {}  # steps of each metric that are there already
        self._pending: list[Any] = []
        self._written_at = time.monotonic()
        run_id = _kept(workdir, ".mlflow_run")
        self._is_new = run_id is None
        if run_id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            run_name = os.path.basename(os.path.abspath(workdir))
            made = self._client.create_run(experiment, run_name=run_name)
            run_id = _keep(workdir, ".mlflow_run", made.info.run_id)
        else:
            self._client.update_run(run_id, status="RUNNING")
        self._run_id = run_id
        params = [self._entities.Param(name, str(value)) for name, value in begin.hparams.items()]
        for i in range(0, len(params) if self._is_new else 0, _NUM_PARAMS):
            self._client.log_batch(run_id, params=params[i : i + _NUM_PARAMS])
        for step, scalars in begin.written:
            self.write_scalars(step, scalars)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        for name, value in scalars.items():
            if step not in self._steps(name):
                self._known[name].add(step)
                self._pending.append(self._entities.Metric(name, value, now, step))
        if time.monotonic() - self._written_at > _WRITE_SECONDS:
            self._write()

    def close(self) -> None:
        self._write()
        self._client.set_terminated(self._run_id)

    def _write(self) -> None:
        for i in range(0, len(self._pending), _NUM_METRICS):
            metrics = self._pending[i : i + _NUM_METRICS]
            self._client.log_batch(self._run_id, metrics=metrics)
        self._pending, self._written_at = [], time.monotonic()

    def _steps(self, name: str) -> set[int]:
        """What a resumed run repeats is there already, with the same value."""
        if name not in self._known:
            found = [] if self._is_new else self._client.get_metric_history(self._run_id, name)
            self._known[name] = {metric.step for metric in found}
        return self._known[name]


_MAKE: Mapping[str, Callable[[_Begin], Any]] = {"wandb": WandB, "mlflow": MLflow}


def _written(workdir: str) -> Iterator[tuple[int, dict[str, float]]]:
    """What is in metrics.jsonl; what is not finite is nan."""
    for line in lines_up_to(os.path.join(workdir, "metrics.jsonl"), step=sys.maxsize):
        scalars = json.loads(line)
        step = scalars.pop("step")
        yield step, {name: math.nan if x is None else x for name, x in scalars.items()}


def _kept(workdir: str, name: str) -> str | None:
    """The tracker's name of the run, where it has one."""
    try:
        with open(os.path.join(workdir, name), encoding="utf-8") as file:
            return file.read().strip() or None
    except FileNotFoundError:
        return None


def _keep(workdir: str, name: str, run_id: str) -> str:
    write_text(workdir, name, run_id + "\n")
    return run_id
