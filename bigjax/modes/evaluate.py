"""Owns `--mode=evaluate`: scoring a finished run again, from its folder and the data of the splits
that are scored alone."""

from bigjax.checkpoints.starting_points import trained
from bigjax.config.sections import Evaluation
from bigjax.config.values import Config
from bigjax.engine.scorer import build_scorer
from bigjax.loop.final import score_splits
from bigjax.loop.loop import Progress, alone_in, labels
from bigjax.loop.stop import StopRequest
from bigjax.processes import distributed
from bigjax.run_folder import folder
from bigjax.run_folder.writers import Terminal, Writers

SPLITS = ("dev", "test")


def score_run(
    config: Config,
    *,
    workdir: str,
    progress: Progress = lambda step: None,  # noqa: ARG005
) -> dict[str, float]:
    """Scores every split of the run in `workdir` with its best or latest checkpoint; returns
    "split/score" to value.

    Args:
      progress: called with the step before each batch, for a watchdog.

    Raises:
      UserError: no run, no checkpoint, or data that cannot be read; `Stopped` after a signal.
    """
    folder.read_config_record(workdir)
    with alone_in(workdir), StopRequest() as stop:
        scorer = build_scorer(config, folder=workdir, splits=SPLITS)
        folder.compare_data(scorer.task)
        folder.say_where_data_differs(workdir, task=scorer.task)
        variables, step = trained(scorer, workdir=workdir, which=config.of(Evaluation).final)
        terminal = Terminal(start=step, total_steps=step, labels=labels(scorer.task))
        writer = Writers([terminal] if distributed.is_first() else [])

        def between() -> None:
            stop.check()
            progress(step)

        try:
            return score_splits(
                scorer,
                variables=variables,
                step=step,
                workdir=workdir,
                writer=writer,
                between=between,
                said="evaluated",
            )
        finally:
            writer.close()
