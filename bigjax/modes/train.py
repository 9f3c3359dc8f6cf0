"""Owns `--mode=train`: a run from its start, or from where it stopped, to its end."""

import sys

from bigjax.config.values import Config
from bigjax.engine.build import Setup, build
from bigjax.loop.loop import (
    Evaluated,
    Progress,
    Session,
    alone_in,
    checkpoints_of,
    closing,
    finish,
    run_loop,
    writers_of,
)
from bigjax.loop.starting_points import begin
from bigjax.loop.stop import StopRequest
from bigjax.processes import distributed
from bigjax.run_folder import folder
from bigjax.run_folder.writers import Writers


def train(
    config: Config,
    *,
    workdir: str,
    allow_config_change: bool = False,
    progress: Progress = lambda step: None,  # noqa: ARG005
    evaluated: Evaluated = lambda step, score: None,  # noqa: ARG005
) -> dict[str, float]:
    """Trains, or resumes the run in `workdir`, to its end; returns the final scores.

    Args:
      allow_config_change: resume though settings differ from those the run was made with.
      progress: called with the step whenever something was done, for a watchdog.
      evaluated: as of a `Session`.

    Raises:
      UserError: bad input; `NonFiniteError` if the loss is not finite; `Stopped` after a signal.
    """
    with alone_in(workdir), StopRequest() as stop:
        setup = build(config)
        folder.compare_data(setup.task)
        checkpoints = checkpoints_of(config, workdir)
        if checkpoints.steps() and not allow_config_change:
            folder.refuse_changes(workdir, config=config, task=setup.task, fixed=_fixed(setup))
        elif checkpoints.steps():
            folder.refuse_other_data(workdir, task=setup.task)
        start = begin(setup, checkpoints)
        writer, ledger = Writers([]), None
        if distributed.is_first():
            for line in setup.notes:
                print(line, flush=True)
            for line in setup.task.data.warnings:
                print(f"warning: {line}", file=sys.stderr, flush=True)
            folder.write_start(
                workdir,
                config=config,
                task=setup.task,
                source=start.source,
                fixed=_fixed(setup),
            )
            writer, ledger = writers_of(setup, workdir=workdir, step=int(start.state.step))
        session = Session(
            setup, setup.scorer(), workdir, checkpoints, stop, writer, ledger, progress, evaluated
        )
        with closing(session):
            if not start.restored:
                writer.write_hparams(config.flat())
            stop.loop_begins()
            state, facts = run_loop(session, start)
            checkpoints.wait()
            return finish(session, state, facts)


def _fixed(setup: Setup) -> dict[str, int]:
    """Batch statistics are of a part of an update, so the number of parts shapes them; everything
    else does not depend on it."""
    if not setup.state.model_state:
        return {}
    return {"parts of an update (batch.accumulate)": setup.num_microbatches}
