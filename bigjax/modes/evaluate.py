"""Owns `--mode=evaluate`: scoring a finished run again."""

from bigjax.checkpoints.starting_points import begin
from bigjax.config.values import Config
from bigjax.engine.build import build
from bigjax.errors import UserError
from bigjax.loop.loop import Progress, Session, alone_in, checkpoints_of, closing, finish
from bigjax.loop.stop import StopRequest
from bigjax.processes import distributed
from bigjax.run_folder import folder
from bigjax.run_folder.writers import Terminal, Writers


def score_run(
    config: Config,
    *,
    workdir: str,
    progress: Progress = lambda step: None,  # noqa: ARG005
) -> dict[str, float]:
    """Scores every split of the run in `workdir` with its best or latest checkpoint, anew."""
    folder.read_config_record(workdir)
    with alone_in(workdir), StopRequest() as stop:
        checkpoints = checkpoints_of(config, workdir)
        if not checkpoints.steps():
            raise UserError(f"--workdir={workdir}: no checkpoint to evaluate; train first")
        setup = build(config)
        folder.compare_data(setup.task)
        folder.check_files(workdir, task=setup.task)
        state, facts, *_ = begin(setup, checkpoints)
        shown = [Terminal(start=int(state.step), total_steps=setup.total_steps)]
        writer = Writers(shown if distributed.is_first() else [])
        session = Session(setup, workdir, checkpoints, stop, writer, None, progress)
        with closing(session):
            return finish(session, state, facts)
