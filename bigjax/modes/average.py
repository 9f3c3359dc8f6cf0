"""Owns `--mode=average`: a run whose parameters are the mean of those of several checkpoints."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax

from bigjax import methods
from bigjax.checkpoints import averaging, manifest
from bigjax.checkpoints.save import Checkpoints
from bigjax.config.sections import Evaluation, Run
from bigjax.config.values import Config
from bigjax.engine.compilation import use_cache
from bigjax.errors import UserError
from bigjax.inference import opening
from bigjax.loop.loop import alone_in
from bigjax.loop.starting_points import NO_FACTS
from bigjax.run_folder import folder
from bigjax.tasks import TASKS
from bigjax.tasks.task import Task

# What two models may have computed or trained by, and still be one model.
_FREE = ("dtype", "remat", "dropout", "attention_dropout", "momentum")


class Place(NamedTuple):
    """run: its folder. checkpoint: that of the checkpoint that is taken of it. name: as given."""

    run: str
    checkpoint: str
    name: str


def average(runs: Sequence[str], *, workdir: str) -> None:
    """Writes a run to the folder `workdir`, with the settings of the first of `runs`: it can be
    scored and used. Says on the terminal of what it is.

    Args:
      runs: folders of finished runs, of which the best checkpoint is taken (or the latest, as
        `eval.final` says), or RUN@STEP for another.
    Raises:
      UserError: fewer than two; one that is no run, or not of the same model, tags or tokenizer; a
        `workdir` that holds a run already.
    """
    if len(runs) < 2:
        raise UserError("--runs: a mean is of two or more: RUN,RUN or RUN@STEP,RUN@STEP")
    if os.path.exists(os.path.join(workdir, "config.json")):
        raise UserError(f"--workdir={workdir} holds a run already; give a new folder")
    use_cache()
    places, tasks, configs = [], [], []
    for run in runs:
        if not opening.is_run(_folder_of(run)[0]):
            raise UserError(f"--runs={run}: is no run; expected the folder of a finished one")
        opened = opening.open_trained(_folder_of(run)[0], overrides={})
        places.append(_place(run, which=opened.config.of(Evaluation).final))
        configs.append(opened.config)
        tasks.append(_task(opened, name=run))
        _check_same(tasks, configs, places=places)
    mean, steps = averaging.mean_of([place.checkpoint for place in places])
    names = [f"{place.run} (step {step})" for place, step in zip(places, steps)]
    facts = NO_FACTS | _frozen_of(places)
    with alone_in(workdir):
        source = f"the mean of {', '.join(names)}"
        folder.write_derived(workdir, origin=places[0].run, task=tasks[0], source=source)
        checkpoints = Checkpoints(workdir, keep_latest=1, keep_best=0)
        try:
            placed = jax.tree.map(jax.numpy.asarray, mean)
            checkpoints.save(placed, step=max(steps), facts=facts, score=None)
        finally:
            checkpoints.close()
    print(f"{workdir}: {source}\nscore it: --mode=evaluate --workdir={workdir}", flush=True)


def _task(opened: opening.Opened, *, name: str) -> Task:
    task = TASKS[opened.config.of(Run).task].load(opened.config, opened.folder, splits=())
    if methods.as_saved(task.model, opened.config, folder=opened.folder) is not None:
        raise UserError(
            f"--runs={name}: has adapters, and a mean of these is not that of the models; expected "
            "runs that were trained in full"
        )
    return task


def _folder_of(given: str) -> tuple[str, str | None]:
    """The folder of a run, and the step after an @; a folder whose own name has one is itself."""
    run, at, step = given.rpartition("@")
    if not at or os.path.exists(given):
        return given, None
    if not step.isdecimal():
        raise UserError(f"--runs={given}: expected RUN or RUN@STEP, found no step in {step!r}")
    return run, str(int(step))


def _place(given: str, *, which: str) -> Place:
    run, step = _folder_of(given)
    inside = os.path.join(run, "checkpoints")
    there = manifest.steps(inside)
    if step is not None and int(step) not in there:
        found = ", ".join(map(str, there)) or "none"
        raise UserError(f"--runs={given}: no such checkpoint; there are those of step {found}")
    if step is None and which == "latest" and there:
        step = str(there[-1])
    return Place(run, run if step is None else os.path.join(inside, step), given)


def _check_same(
    tasks: Sequence[Task], configs: Sequence[Config], *, places: Sequence[Place]
) -> None:
    """Raises UserError where the last is not of the model of the first."""
    facts, firsts = (
        {"task": task.name, **task.use.files, **_model_settings(config)}
        for task, config in ((tasks[-1], configs[-1]), (tasks[0], configs[0]))
    )
    differ = [name for name in {**firsts, **facts} if facts.get(name) != firsts.get(name)]
    differ = [name for name in differ if name not in tasks[0].use.of_training]
    if differ:
        raise UserError(
            f"--runs: {places[-1].name} and {places[0].name} cannot be averaged, "
            f"{', '.join(differ)} differ; expected the same architecture, tags or classes, and "
            "tokenizer"
        )


def _model_settings(config: Config) -> dict[str, str]:
    settings = {key: value for key, value in config.flat().items() if key.startswith("model.")}
    return {key: repr(x) for key, x in settings.items() if key.split(".")[1] not in _FREE}


def _frozen_of(places: Sequence[Place]) -> Mapping[str, object]:
    """The hashes of what nothing trained, beside which all were trained."""
    found = []
    for place in places:
        inside = place.checkpoint
        if inside == place.run:
            steps = manifest.steps(os.path.join(place.run, "checkpoints"))
            inside = os.path.join(place.run, "checkpoints", str(steps[-1]))
        found.append(manifest.read(inside).facts.get("frozen"))
        if found[-1] != found[0]:
            raise UserError(
                f"--runs: {place.name} and {places[0].name} were trained beside other frozen "
                "variables"
            )
    return {"frozen": found[0]} if found[0] else {}
