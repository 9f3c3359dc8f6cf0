"""Owns the training loop, and scoring a finished run. What differs between tasks is in `Task`."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from bigjax.checkpoints.save import Checkpoints, Facts
from bigjax.checkpoints.starting_points import Start
from bigjax.config.values import Config
from bigjax.data.pipeline import Prefetch
from bigjax.engine.build import Setup
from bigjax.engine.state import TrainState
from bigjax.errors import Stopped, UserError
from bigjax.loop.cadence import cadence_of, is_due, is_long_ago, spans
from bigjax.loop.evaluate import evaluate
from bigjax.loop.meter import Meter
from bigjax.loop.nonfinite import check_params
from bigjax.loop.stop import StopRequest
from bigjax.processes import distributed
from bigjax.report import page
from bigjax.run_folder import folder
from bigjax.run_folder.ledger import Ledger
from bigjax.run_folder.lock import Lock
from bigjax.run_folder.writers import JsonLines, TensorBoard, Terminal, Writers
from bigjax.tasks.task import Scores

Progress = Callable[[int], None]


class Session(NamedTuple):
    """A run that is going on: what the loop and its end share."""

    setup: Setup
    workdir: str
    checkpoints: Checkpoints
    stop: StopRequest
    writer: Writers
    ledger: Ledger | None
    progress: Progress


def run_loop(session: Session, start: Start) -> tuple[TrainState, Facts]:
    """The order is the contract of exact resume: evaluate the old state, save it, and only then
    take batch `step` (or several), update and log. `state.step` is the number of the next batch."""
    setup, workdir, checkpoints, stop, writer, ledger, progress = session
    config, task = setup.config, setup.task
    (state, facts, restored, _), total = start, setup.total_steps
    every, first = cadence_of(setup), int(state.step)
    at_once = spans(every, first=first, total=total, most=config[""]["steps_per_dispatch"])
    batches = Prefetch(lambda steps: (steps, setup.put(steps)), at_once)
    batches_of = iter(batches)
    meter = Meter(setup, batches, workdir=workdir, step=first)
    saved_at = time.monotonic()
    try:
        step = first
        while True:
            stop.check(step)
            progress(step)
            last = step == total
            evaluates = "dev" in task.evals and (is_due(every.evaluate, step) or last)
            evaluates = evaluates and facts["evaluated"] != step  # as what is restored may be
            saves = is_due(every.save, step) or is_long_ago(saved_at, every=every, step=step)
            if evaluates or (saves or last) and not (restored and step == first):
                meter.wait()
                check_params(state.params, step=step)
                score = None
                if evaluates:
                    scores = _evaluate(session, state, "dev")
                    score = _score_of(config, task, scores)
                    facts = _with_score(facts, score, step=step)
                    writer.write_scalars(
                        step, {f"dev/{name}": value for name, value in scores.scalars.items()}
                    )
                checkpoints.save(state, step=step, facts=facts, score=score)
                saved_at = time.monotonic()
                meter.restart_clock()
            if last or _out_of_patience(config, facts):
                break
            steps, batch = next(batches_of)
            if ledger is not None:
                ledger.add(steps)
            state, scalars = setup.train_step(state, batch)
            meter.add(scalars, steps=steps)
            step = steps.stop
            writer.advance(step)
            if is_due(every.log, step) or step == total:
                writer.write_scalars(
                    step, {f"train/{name}": value for name, value in meter.measure().items()}
                )
    except Stopped:
        meter.wait()
        check_params(state.params, step=step)
        checkpoints.save(state, step=step, facts=facts, score=None)
        checkpoints.wait()
        raise stop.stopped(step) from None
    finally:
        batches_of.close()
    return state, facts


@contextlib.contextmanager
def alone_in(workdir: str) -> Iterator[None]:
    """The run folder, made and locked by the first process for all of them."""
    if not distributed.is_first():
        yield
        return
    folder.create(workdir)
    with Lock(workdir), folder.disk_errors_told(workdir):
        yield


def writers_of(setup: Setup, *, workdir: str, step: int) -> tuple[Writers, Ledger | None]:
    path = lambda name: os.path.join(workdir, name)  # noqa: E731
    writer = Writers(
        [
            JsonLines(path("metrics.jsonl"), resume_at=step),
            TensorBoard(path("tensorboard"), resume_at=step),
            Terminal(start=step, total_steps=setup.total_steps),
        ]
    )
    if not setup.config["log"]["batches"]:
        return writer, None
    return writer, Ledger(path("batches.jsonl"), setup.task.train, resume_at=step)


@contextlib.contextmanager
def closing(session: Session) -> Iterator[None]:
    """Closes what is open. Processes wait for each other to close their checkpoints, so where one
    of several fails, perhaps alone, they are left as they are: whole ones and a partial one."""
    try:
        yield
    except BaseException:
        if jax.process_count() == 1:
            session.checkpoints.close()
        raise
    else:
        session.checkpoints.close()
    finally:
        session.writer.close()
        if session.ledger is not None:
            session.ledger.close()


def finish(session: Session, state: TrainState, facts: Facts) -> dict[str, float]:
    """Final scores of every split, `results.json` and the report."""
    setup, workdir, checkpoints, writer = (
        session.setup, session.workdir, session.checkpoints, session.writer
    )  # fmt: skip
    step, best = int(state.step), facts["best_step"]
    if setup.config["eval"]["final"] == "best" and best is not None and best != step:
        if best not in checkpoints.steps():
            raise UserError(
                f"--workdir={workdir}: the best checkpoint, of step {best}, is not there; score "
                "the latest one with --config.eval.final=latest"
            )
        state, _ = checkpoints.restore(best, like=setup.state)
    scored_step = int(state.step)
    scores = {split: _evaluate(session, state, split) for split in setup.task.evals}
    flat = folder.flat_scores(scores)
    for split in scores:
        if split != "dev":  # dev's are there, at their own step
            writer.write_scalars(
                scored_step, {k: v for k, v in flat.items() if k.startswith(f"{split}/")}
            )
    writer.flush()
    if not distributed.is_first():
        return flat
    folder.write_results(
        workdir, task=setup.task, scores=scores, step=scored_step, fill=setup.task.train.fill
    )
    path = page.write(workdir)
    shown = ", ".join(f"{name} {flat[name]:.4f}" for name in _headline(setup, flat))
    summary = f"finished at step {step}; scores of step {scored_step}: {shown}\nreport: {path}"
    writer.write_texts(step, {"summary": summary})
    return flat


def _headline(setup: Setup, flat: Mapping[str, float]) -> list[str]:
    names = [f"{split}/{setup.task.headline[0]}" for split in setup.task.evals]
    return [name for name in names if name in flat]


def checkpoints_of(config: Config, workdir: str) -> Checkpoints:
    return Checkpoints(
        workdir,
        keep_latest=config["checkpoint"]["keep_latest"],
        keep_best=config["checkpoint"]["keep_best"],
    )


def _evaluate(session: Session, state: TrainState, split: str) -> Scores:
    setup, step = session.setup, int(state.step)

    def between() -> None:
        session.stop.check()
        session.progress(step)

    return evaluate(
        setup.task,
        split=split,
        variables=state.averaged(),
        eval_step=setup.eval_step,
        mesh=setup.mesh,
        between=between,
    )


def _score_of(config: Config, task: Any, scores: Scores) -> float:
    """What "best" compares: higher is better."""
    name = config["eval"]["metric"] or task.headline[0]
    sign = 1 if config["eval"]["mode"] == "max" else -1
    return sign * scores.scalars[name]


def _with_score(facts: Facts, score: float, *, step: int) -> Facts:
    facts = facts | {"evaluated": step}
    if facts["best_score"] is None or score > facts["best_score"]:
        return facts | {"best_score": score, "best_step": step, "without_better": 0}
    return facts | {"without_better": facts["without_better"] + 1}


def _out_of_patience(config: Config, facts: Facts) -> bool:
    patience = config["eval"]["patience"]
    return patience is not None and facts["without_better"] >= patience
