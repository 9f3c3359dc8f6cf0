"""Owns the training loop, and scoring a finished run. What differs between tasks is in `Task`."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from bigjax import distributed, report, run_folder
from bigjax.cadence import cadence_of, is_due, is_long_ago, spans
from bigjax.checkpoint import Checkpoints, Facts
from bigjax.config import Config
from bigjax.data.pipeline import Prefetch
from bigjax.errors import UserError
from bigjax.evaluate import evaluate
from bigjax.ledger import Ledger
from bigjax.lock import Lock
from bigjax.logs import JsonLines, TensorBoard, Terminal, Writers
from bigjax.nonfinite import check_params
from bigjax.recent import Recent
from bigjax.setup import Setup, build
from bigjax.start import Start, begin
from bigjax.state import TrainState
from bigjax.stop import Stopped, StopRequest
from bigjax.task import Scores

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


def train(
    config: Config,
    *,
    workdir: str,
    allow_config_change: bool = False,
    progress: Progress = lambda step: None,  # noqa: ARG005
) -> dict[str, float]:
    """Trains, or goes on with the run in `workdir`, to its end; returns the final scores.

    Args:
      allow_config_change: go on though settings differ from those the run was made with.
      progress: called with the step whenever something was done, for a watchdog.

    Raises:
      UserError: bad input; `NonFiniteError` if the loss is not finite; `Stopped` after a signal.
    """
    with _alone_in(workdir), StopRequest() as stop:
        setup = build(config)
        run_folder.compare_data(setup.task)
        checkpoints = _checkpoints(config, workdir)
        if checkpoints.steps() and not allow_config_change:
            run_folder.refuse_changes(workdir, config=config, task=setup.task)
        elif checkpoints.steps():
            run_folder.refuse_other_data(workdir, task=setup.task)
        start = begin(setup, checkpoints)
        writer, ledger = Writers([]), None
        if distributed.is_first():
            run_folder.write_start(workdir, config=config, task=setup.task)
            writer, ledger = _writers(setup, workdir=workdir, step=int(start.state.step))
        if not start.restored:
            writer.write_hparams(config.flat())
        session = Session(setup, workdir, checkpoints, stop, writer, ledger, progress)
        with _closing(session):
            stop.loop_begins()
            state, facts = _loop(session, start)
            checkpoints.wait()
            return _finish(session, state, facts)


def score_run(
    config: Config,
    *,
    workdir: str,
    progress: Progress = lambda step: None,  # noqa: ARG005
) -> dict[str, float]:
    """Scores every split of the run in `workdir` with its best or latest checkpoint, anew."""
    run_folder.read_config_record(workdir)
    with _alone_in(workdir), StopRequest() as stop:
        checkpoints = _checkpoints(config, workdir)
        if not checkpoints.steps():
            raise UserError(f"--workdir={workdir}: no checkpoint to evaluate; train first")
        setup = build(config)
        run_folder.compare_data(setup.task)
        run_folder.check_files(workdir, task=setup.task)
        state, facts, _ = begin(setup, checkpoints)
        shown = [Terminal(start=int(state.step), total_steps=setup.total_steps)]
        writer = Writers(shown if distributed.is_first() else [])
        session = Session(setup, workdir, checkpoints, stop, writer, None, progress)
        with _closing(session):
            return _finish(session, state, facts)


def _loop(session: Session, start: Start) -> tuple[TrainState, Facts]:
    """The order is the contract of exact resume: evaluate the old state, save it, and only then
    take batch `step` (or several), update and log. `state.step` is the number of the next batch."""
    setup, workdir, checkpoints, stop, writer, ledger, progress = session
    config, task = setup.config, setup.task
    (state, facts, restored), total = start, setup.total_steps
    every, first = cadence_of(setup), int(state.step)
    at_once = spans(every, first=first, total=total, most=config[""]["steps_per_dispatch"])
    batches = Prefetch(lambda steps: (steps, setup.put(steps)), at_once)
    batches_of = iter(batches)
    recent = Recent(setup, batches, workdir=workdir, step=first)
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
                recent.wait()
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
                recent.restart_clock()
            if last or _out_of_patience(config, facts):
                break
            steps, batch = next(batches_of)
            if ledger is not None:
                ledger.add(steps)
            state, scalars = setup.train_step(state, batch)
            recent.add(scalars, steps=steps)
            step = steps.stop
            writer.advance(step)
            if is_due(every.log, step) or step == total:
                writer.write_scalars(
                    step, {f"train/{name}": value for name, value in recent.measure().items()}
                )
    except Stopped:
        recent.wait()
        check_params(state.params, step=step)
        checkpoints.save(state, step=step, facts=facts, score=None)
        checkpoints.wait()
        raise stop.stopped(step) from None
    finally:
        batches_of.close()
    return state, facts


@contextlib.contextmanager
def _alone_in(workdir: str) -> Iterator[None]:
    """The run folder, made and locked by the first process for all of them."""
    if not distributed.is_first():
        yield
        return
    run_folder.create(workdir)
    with Lock(workdir), run_folder.disk_errors_told(workdir):
        yield


def _writers(setup: Setup, *, workdir: str, step: int) -> tuple[Writers, Ledger | None]:
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
def _closing(session: Session) -> Iterator[None]:
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


def _finish(session: Session, state: TrainState, facts: Facts) -> dict[str, float]:
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
    flat = run_folder.flat_scores(scores)
    for split in scores:
        if split != "dev":  # dev's are there, at their own step
            writer.write_scalars(
                scored_step, {k: v for k, v in flat.items() if k.startswith(f"{split}/")}
            )
    writer.flush()
    if not distributed.is_first():
        return flat
    run_folder.write_results(
        workdir, task=setup.task, scores=scores, step=scored_step, fill=setup.task.train.fill
    )
    path = report.write(workdir)
    shown = ", ".join(f"{name} {flat[name]:.4f}" for name in _headline(setup, flat))
    summary = f"finished at step {step}; scores of step {scored_step}: {shown}\nreport: {path}"
    writer.write_texts(step, {"summary": summary})
    return flat


def _headline(setup: Setup, flat: Mapping[str, float]) -> list[str]:
    names = [f"{split}/{setup.task.headline[0]}" for split in setup.task.evals]
    return [name for name in names if name in flat]


def _checkpoints(config: Config, workdir: str) -> Checkpoints:
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
