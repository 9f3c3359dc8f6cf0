"""Owns `--mode=evaluate`: scoring a finished run again, from its folder and the data of the splits
that are scored alone; or a model of elsewhere."""

import os
from typing import Any

from bigjax.config.sections import Evaluation
from bigjax.config.values import Config
from bigjax.engine.scorer import Scorer, build_scorer
from bigjax.errors import UserError
from bigjax.inference import opening
from bigjax.loop.final import score_splits
from bigjax.loop.loop import Progress, alone_in, labels
from bigjax.loop.starting_points import trained
from bigjax.loop.stop import StopRequest
from bigjax.processes import distributed
from bigjax.run_folder import folder
from bigjax.run_folder.writers import JsonLines, Terminal, Writers

SPLITS = ("dev", "test")


def score_folder(
    config: Config,
    *,
    place: str,
    output: str | None,
    progress: Progress = lambda step: None,  # noqa: ARG005
) -> dict[str, float]:
    """As `score_run` for a Hugging Face folder or hub name, with the data of `config`; results and
    report go to the folder `output`.

    Raises:
      UserError: no such model or data; `output` is a run, or cannot be written.
    """
    if output is None:
        raise UserError(f"--workdir={place} is no run: say with --output=DIR where results go")
    if opening.is_run(output):
        raise UserError(f"--output={output} is a run; give a folder for the results alone")
    with alone_in(output), StopRequest() as stop:
        opened = opening.open_trained(place, overrides={})._replace(config=config)
        scorer = build_scorer(config, folder=opened.folder, splits=SPLITS)
        folder.compare_data(scorer.task)
        variables, _ = opening.variables_of(scorer, opened)
        if distributed.is_first():
            folder.write_start(output, config=config, task=scorer.task, source=place)
            JsonLines(os.path.join(output, "metrics.jsonl"), resume_at=0).close()  # no curves
        return _scored(scorer, variables, step=0, workdir=output, stop=stop, progress=progress)


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
        return _scored(scorer, variables, step=step, workdir=workdir, stop=stop, progress=progress)


def _scored(
    scorer: Scorer,
    variables: Any,
    *,
    step: int,
    workdir: str,
    stop: StopRequest,
    progress: Progress,
) -> dict[str, float]:
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
