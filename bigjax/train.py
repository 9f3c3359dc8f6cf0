"""Owns the training loop, and scoring a finished run. What differs between tasks is in `Task`."""

import math
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from bigjax import report, run_folder, sharding
from bigjax.checkpoint import Checkpoints, Facts
from bigjax.config import Config
from bigjax.data.pipeline import Prefetch
from bigjax.errors import UserError
from bigjax.evaluate import evaluate
from bigjax.logs import JsonLines, TensorBoard, Terminal, Writers
from bigjax.nonfinite import check_params
from bigjax.recent import Recent
from bigjax.setup import Setup, build, duration, new_state, num_params
from bigjax.state import TrainState
from bigjax.task import Scores


class Cadence(NamedTuple):
    """How often things happen, in steps (an epoch need not be a whole number); None: never."""

    evaluate: float | None
    save: float | None
    save_seconds: float
    log: float


def is_due(every: float | None, step: int) -> bool:
    """Whether a multiple of `every` lies in (step - 1, step]."""
    if not every or step < 1:
        return False
    times = lambda at: math.floor(at / every + 1e-6)  # noqa: E731 - 1e-6: rounding of an epoch
    return times(step) > times(step - 1)


def train(config: Config, *, workdir: str) -> dict[str, float]:
    """Trains, or goes on with the run in `workdir`, to its end; returns the final scores.

    Raises:
      UserError: bad input; `NonFiniteError` if the loss is not finite.
    """
    run_folder.create(workdir)
    setup = build(config)
    checkpoints = _checkpoints(config, workdir)
    resumes = checkpoints.latest() is not None
    run_folder.write_start(workdir, config=config, task=setup.task, resumes=resumes)
    state, facts, restored = _begin(setup, checkpoints)
    start = int(state.step)
    terminal = Terminal(start=start, total_steps=setup.total_steps)
    writer = Writers(
        [
            JsonLines(os.path.join(workdir, "metrics.jsonl"), resume_at=start),
            TensorBoard(os.path.join(workdir, "tensorboard"), resume_at=start),
            terminal,
        ]
    )
    if not restored:
        writer.write_hparams(config.flat())
    try:
        state, facts = _loop(
            setup, state, facts, restored=restored, workdir=workdir, checkpoints=checkpoints,
            writer=writer, terminal=terminal,
        )  # fmt: skip
        checkpoints.wait()
        return _finish(setup, state, facts, workdir=workdir, checkpoints=checkpoints, writer=writer)
    finally:
        writer.close()
        checkpoints.close()


def score_run(config: Config, *, workdir: str) -> dict[str, float]:
    """Scores every split of the run in `workdir` with its best or latest checkpoint, anew."""
    run_folder.read_config_record(workdir)  # before Orbax makes a folder of what is no run
    run_folder.create(workdir)
    checkpoints = _checkpoints(config, workdir)
    latest = checkpoints.latest()
    if latest is None:
        raise UserError(f"--workdir={workdir}: no checkpoint to evaluate; train first")
    setup = build(config)
    run_folder.check_files(workdir, task=setup.task)
    state, facts = checkpoints.restore(latest, like=setup.state)
    writer = Writers([Terminal(start=latest, total_steps=setup.total_steps)])
    try:
        return _finish(setup, state, facts, workdir=workdir, checkpoints=checkpoints, writer=writer)
    finally:
        writer.close()
        checkpoints.close()


def _loop(
    setup: Setup,
    state: TrainState,
    facts: Facts,
    *,
    restored: bool,
    workdir: str,
    checkpoints: Checkpoints,
    writer: Writers,
    terminal: Terminal,
) -> tuple[TrainState, Facts]:
    """The order is the contract of exact resume: evaluate the old state, save it, and only then
    take batch `step`, update and log. `state.step` is the number of the next batch."""
    config, task, mesh = setup.config, setup.task, setup.mesh
    every, start, total = _cadence(setup), int(state.step), setup.total_steps
    batches = Prefetch(
        lambda step: sharding.put_batch(task.train, step=step, mesh=mesh, num_rows=setup.num_rows),
        start=start,
        stop=total,
    )
    batch_of = iter(batches)
    recent = Recent(setup, batches, workdir=workdir, step=start)
    saved_at = time.monotonic()
    for step in range(start, total + 1):
        evaluates = "dev" in task.evals and (is_due(every.evaluate, step) or step == total)
        saves = is_due(every.save, step) or time.monotonic() - saved_at > every.save_seconds
        fresh = not (restored and step == start)  # what is restored was evaluated and saved
        if (evaluates or saves or step == total) and fresh:
            recent.wait()
            check_params(state.params, step=step)
            score = None
            if evaluates:
                scores = _evaluate(setup, state, "dev")
                score = _score_of(config, task, scores)
                facts = _with_score(facts, score, step=step)
                writer.write_scalars(
                    step, {f"dev/{name}": value for name, value in scores.scalars.items()}
                )
            checkpoints.save(state, step=step, facts=facts, score=score)
            saved_at = time.monotonic()
            recent.restart_clock()
        if step == total or _out_of_patience(config, facts):
            break
        batch = next(batch_of)
        state, scalars = setup.train_step(state, batch)
        recent.add(scalars)
        terminal.advance(step + 1)
        if is_due(every.log, step + 1) or step + 1 == total:
            writer.write_scalars(
                step + 1, {f"train/{name}": value for name, value in recent.measure().items()}
            )
    batch_of.close()
    return state, facts


def _begin(setup: Setup, checkpoints: Checkpoints) -> tuple[TrainState, Facts, bool]:
    """The state to start from, facts about the run so far, and whether they are restored."""
    latest = checkpoints.latest()
    devices = f"{setup.mesh.size} {jax.default_backend()} device{'s' * (setup.mesh.size > 1)}"
    size = f"{num_params(setup.state):,} parameters on {devices}"
    if latest is not None:
        state, facts = checkpoints.restore(latest, like=setup.state)
        print(f"resuming at step {latest} of {setup.total_steps}; {size}", flush=True)
        return state, facts, True
    state, source = new_state(setup)
    data = setup.task.train
    print(
        f"starting from {source} parameters; {size}; {data.num_examples:,} examples, "
        f"{setup.total_steps:,} steps of {data.batch_rows} rows, {data.fill:.1%} filled",
        flush=True,
    )
    return state, {"best_score": None, "best_step": None, "without_better": 0}, False


def _finish(
    setup: Setup,
    state: TrainState,
    facts: Facts,
    *,
    workdir: str,
    checkpoints: Checkpoints,
    writer: Writers,
) -> dict[str, float]:
    """Final scores of every split, `results.json` and the report."""
    step, best = int(state.step), facts["best_step"]
    if setup.config["eval"]["final"] == "best" and best is not None and best != step:
        if best not in checkpoints.steps():
            raise UserError(
                f"--workdir={workdir}: the best checkpoint, of step {best}, is not there; score "
                "the latest one with --config.eval.final=latest"
            )
        state, _ = checkpoints.restore(best, like=setup.state)
    scored_step = int(state.step)
    scores = {split: _evaluate(setup, state, split) for split in setup.task.evals}
    flat = run_folder.write_results(
        workdir, task=setup.task, scores=scores, step=scored_step, fill=setup.task.train.fill
    )
    for split in scores:
        if split != "dev":  # dev's are there, at their own step
            writer.write_scalars(
                scored_step, {k: v for k, v in flat.items() if k.startswith(f"{split}/")}
            )
    writer.flush()
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


def _cadence(setup: Setup) -> Cadence:
    config = setup.config
    minutes = config["checkpoint"]["every_minutes"]
    return Cadence(
        evaluate=duration(config, "every", section="eval", task=setup.task),
        save=config["checkpoint"]["every_steps"],
        save_seconds=math.inf if minutes is None else minutes * 60,
        log=config["log"]["every_steps"],
    )


def _evaluate(setup: Setup, state: TrainState, split: str) -> Scores:
    return evaluate(
        setup.task,
        split=split,
        variables=state.averaged(),
        eval_step=setup.eval_step,
        mesh=setup.mesh,
    )


def _score_of(config: Config, task: Any, scores: Scores) -> float:
    """What "best" compares: higher is better."""
    name = config["eval"]["metric"] or task.headline[0]
    sign = 1 if config["eval"]["mode"] == "max" else -1
    return sign * scores.scalars[name]


def _with_score(facts: Facts, score: float, *, step: int) -> Facts:
    if facts["best_score"] is None or score > facts["best_score"]:
        return {"best_score": score, "best_step": step, "without_better": 0}
    return facts | {"without_better": facts["without_better"] + 1}


def _out_of_patience(config: Config, facts: Facts) -> bool:
    patience = config["eval"]["patience"]
    return patience is not None and facts["without_better"] >= patience
