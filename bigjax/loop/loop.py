"""Owns the training loop, and what opens and closes around it. What differs between tasks is in
`Task`."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from bigjax.checkpoints.save import Checkpoints, Facts
from bigjax.config.sections import Checkpointing, Evaluation, Logging, Run
from bigjax.config.values import Config
from bigjax.data.pipeline import Prefetch
from bigjax.engine.build import Setup
from bigjax.engine.scorer import Scorer, best_score
from bigjax.engine.state import TrainState
from bigjax.errors import Stopped
from bigjax.loop.cadence import cadence_of, is_due, is_long_ago, spans
from bigjax.loop.evaluate import evaluate
from bigjax.loop.final import score_splits
from bigjax.loop.meter import Meter
from bigjax.loop.nonfinite import check_params
from bigjax.loop.starting_points import Start, scored_checkpoint
from bigjax.loop.stop import StopRequest
from bigjax.processes import distributed
from bigjax.run_folder import folder
from bigjax.run_folder.ledger import Ledger
from bigjax.run_folder.lock import Lock
from bigjax.run_folder.tensorboard import TensorBoard
from bigjax.run_folder.trackers import trackers_of
from bigjax.run_folder.writers import JsonLines, Terminal, Writers, clu_writer
from bigjax.tasks.task import Score, Task

Progress = Callable[[int], None]
Evaluated = Callable[[int, float], None]


class Session(NamedTuple):
    """A training in progress: what the loop and its end share.

    evaluated: told the step and the score of dev that "best" goes by, before the state is saved. It
      may raise, to end the run there.
    """

    setup: Setup
    scorer: Scorer
    workdir: str
    checkpoints: Checkpoints
    stop: StopRequest
    writer: Writers
    ledger: Ledger | None
    progress: Progress
    evaluated: Evaluated = lambda step, score: None  # noqa: ARG005, E731

    def between(self, step: int) -> Callable[[], None]:
        """What is called before each batch of an evaluation at `step`."""

        def check() -> None:
            self.stop.check()
            self.progress(step)

        return check


def run_loop(session: Session, start: Start) -> tuple[TrainState, Facts]:
    """The order is the contract of exact resume: evaluate the old state, save it, and only then
    take batch `step` (or several), update and log. `state.step` is the number of the next batch."""
    setup, scorer, workdir, checkpoints, stop, writer, ledger, progress, evaluated = session
    config, best = setup.config, best_score(setup.config, setup.task)
    has_dev = "dev" in setup.task.data.evals
    (state, facts, restored, _), total = start, setup.total_steps
    every, first = cadence_of(setup), int(state.step)
    at_once = spans(every, first=first, total=total, most=config.of(Run).steps_per_dispatch)
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
            evaluates = has_dev and (is_due(every.evaluate, step) or last)
            evaluates = evaluates and facts["evaluated"] != step  # as what is restored may be
            saves = is_due(every.save, step) or is_long_ago(saved_at, every=every, step=step)
            if evaluates or (saves or last) and not (restored and step == first):
                meter.wait()
                check_params(state.params, step=step)
                score = None
                if evaluates:
                    variables, between = state.averaged(), session.between(step)
                    found = evaluate(scorer, split="dev", variables=variables, between=between)
                    score = found.scalars[best.name] * (1 if best.higher_is_better else -1)
                    facts = _with_score(facts, score, step=step)
                    writer.write_scalars(
                        step, {f"dev/{name}": value for name, value in found.scalars.items()}
                    )
                    evaluated(step, found.scalars[best.name])
                checkpoints.save(state, step=step, facts=facts, score=score)
                saved_at = time.monotonic()
                meter.restart_clock()
            if last or _out_of_patience(config, facts) or _on_target(config, facts, best=best):
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
    logging = setup.config.of(Logging)
    clu = [clu_writer(path("clu"))] if logging.clu else []
    writer = Writers(
        [
            *clu,
            JsonLines(path("metrics.jsonl"), resume_at=step),  # which trackers read
            TensorBoard(path("tensorboard"), resume_at=step),
            *trackers_of(logging.trackers, workdir=workdir, hparams=setup.config.flat()),
            Terminal(start=step, total_steps=setup.total_steps, labels=labels(setup.task)),
        ]
    )
    if not logging.batches:
        return writer, None
    return writer, Ledger(path("batches.jsonl"), setup.task.data.train, resume_at=step)


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
        with contextlib.ExitStack() as files:  # each, also where another cannot write its rest
            files.callback(session.writer.close)
            if session.ledger is not None:
                files.callback(session.ledger.close)


def finish(session: Session, state: TrainState, facts: Facts) -> dict[str, float]:
    """Final scores of every split, from the best checkpoint or the latest state."""
    config, scorer, workdir = session.setup.config, session.scorer, session.workdir
    step, best = int(state.step), facts["best_step"]
    variables, scored_step = state.averaged(), step
    if config.of(Evaluation).final == "best" and best is not None and best != step:
        variables, scored_step = scored_checkpoint(workdir, step=best, like=scorer.variables), best
    return score_splits(
        scorer,
        variables=variables,
        step=scored_step,
        workdir=workdir,
        writer=session.writer,
        between=session.between(step),
        said=f"finished at step {step}",
    )


def labels(task: Task) -> dict[str, str]:
    """What a line of the terminal shows of a split's scores, and what it calls each."""
    return {score.name: score.label for score in task.scoring.declared if score.label}


def checkpoints_of(config: Config, workdir: str) -> Checkpoints:
    return Checkpoints(
        workdir,
        keep_latest=config.of(Checkpointing).keep_latest,
        keep_best=config.of(Checkpointing).keep_best,
    )


def _with_score(facts: Facts, score: float, *, step: int) -> Facts:
    """`score`: higher is better; nan is never best."""
    facts = facts | {"evaluated": step}
    if not math.isnan(score) and (facts["best_score"] is None or score > facts["best_score"]):
        return facts | {"best_score": score, "best_step": step, "without_better": 0}
    return facts | {"without_better": facts["without_better"] + 1}


def _out_of_patience(config: Config, facts: Facts) -> bool:
    patience = config.of(Evaluation).patience
    return patience is not None and facts["without_better"] >= patience


def _on_target(config: Config, facts: Facts, *, best: Score) -> bool:
    target, found = config.of(Evaluation).target, facts["best_score"]
    if target is None or found is None:
        return False
    return found >= (target if best.higher_is_better else -target)
