"""Owns `--mode=search`: trials of settings, each a run in a folder of its own, one after the other
in this process, until there are as many as were asked for.

The same command again continues; several at once share the trials. A trial belongs to the process
that holds the lock in its folder, so that of a dead process can be taken by any.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from bigjax.checkpoints import manifest
from bigjax.config import file, values
from bigjax.config.sections import Run, Search
from bigjax.config.values import Config
from bigjax.engine import settings
from bigjax.engine.scorer import best_score
from bigjax.errors import ProcessGone, Stopped, UserError
from bigjax.loop.loop import Progress
from bigjax.loop.nonfinite import NonFiniteError
from bigjax.modes.train import train
from bigjax.processes import distributed
from bigjax.run_folder import folder
from bigjax.run_folder.lock import InUse, Lock
from bigjax.search import draw, page
from bigjax.search.study import Study
from bigjax.search.trials import Trial, best_of, is_hopeless
from bigjax.tasks import TASKS
from bigjax.tasks.task import Score

CLAIM = ".claim"  # the lock of who trains a trial


class _Hopeless(Exception):
    """Ends a run whose trial is to be ended early."""


class _Search(NamedTuple):
    config: Config
    options: Search
    workdir: str
    study: Study
    score: Score
    num_trials: int


def search(config: Config, *, workdir: str, progress: Progress) -> None:
    """Runs the trials that are left, or this process's share of them; writes `search.html`, and
    the best settings as `best.py`.

    Raises:
      UserError: bad input, or no trial could be trained; `Stopped` after a signal.
    """
    found = _begin(config, workdir=workdir)
    with contextlib.closing(found.study):
        _run_trials(found, progress=progress)


def _run_trials(found: _Search, *, progress: Progress) -> None:
    num_finished = sum(trial.is_finished for trial in found.study.trials())
    print(
        f"search over {', '.join(found.config.space)}: {found.num_trials} trials "
        f"({found.options.method}), {num_finished} of them finished",
        flush=True,
    )
    while True:
        with _next_trial(found) as trial:
            if trial is None:
                break
            print(f"trial {trial.number}: {page.in_words(trial.settings)}", flush=True)
            _run(found, trial, progress=progress)
            _conclude(found, trial.number)
        jax.clear_caches()  # compiled for this trial alone
    _say_what_came_of_it(found)


def _begin(config: Config, *, workdir: str) -> _Search:
    if distributed.num_processes() > 1:
        raise UserError(
            "--mode=search trains in one process; start the command several times, and they share "
            "the trials"
        )
    if not config.space:
        raise UserError(
            f"{config.file}: there is nothing to search: config.search.space gives no setting a "
            "range; docs/search.md shows how"
        )
    options = config.of(Search)
    size = draw.grid_size(config.space) if options.method == "grid" else None
    num_trials = options.num_trials or size or 20
    if os.path.exists(os.path.join(workdir, "config.json")):
        raise UserError(f"--workdir={workdir} holds a run; a search needs a folder of its own")
    # What is wrong with the data is one error now, and not one in every trial.
    task = TASKS[config.of(Run).task].make(config)
    folder.create(workdir)
    score = best_score(config, task)
    study = Study(
        workdir=workdir,
        options=options,
        space=config.space,
        higher_is_better=score.higher_is_better,
        made_of=_made_of(config, options) | folder.fingerprints(task) | {"score": score.name},
    )
    return _Search(config, options, workdir, study, score, min(num_trials, size or num_trials))


def _made_of(config: Config, options: Search) -> dict[str, Any]:
    """What decides about the trials, by name."""
    scoring = ("eval.every_", "eval.final", "decode.")  # harmless to what is trained alone
    base = {
        key: value
        for key, value in config.flat().items()
        if key.startswith(scoring) or not key.startswith(folder.HARMLESS)
    }
    drawing = options.__dict__.keys() - {"num_trials", "storage", "study", "keep"}
    return (
        base
        | {f"search.{key}": getattr(options, key) for key in sorted(drawing)}
        | {f"search.space.{key}": list(one) for key, one in config.space.items()}
    )


@contextlib.contextmanager
def _next_trial(found: _Search) -> Iterator[Trial | None]:
    """A trial for this process alone: one that a dead process left behind, or a new one; None where
    there is none left."""
    study = found.study
    with contextlib.ExitStack() as claim:
        for trial in study.trials():
            if not trial.is_finished and _claims(claim, _folder(found, trial.number)):
                if not study.trial(trial.number).is_finished:
                    yield trial
                    return
                claim.pop_all().close()  # it was finished in between
        with study.turn:
            number = len(study.trials())
            is_new = number < found.num_trials and _claims(claim, _folder(found, number))
            if is_new:
                study.add()
        yield study.trial(number) if is_new else None


def _claims(claim: contextlib.ExitStack, trial_folder: str) -> bool:
    folder.create(trial_folder)
    try:
        claim.enter_context(Lock(trial_folder, name=CLAIM))
    except InUse:
        return False
    return True


def _run(found: _Search, trial: Trial, *, progress: Progress) -> None:
    """Trains, or resumes, a trial to the end that it comes to."""
    study, options, number = found.study, found.options, trial.number
    rule = {"after": options.pruning_after, "warmup": options.pruning_warmup}
    higher_is_better = found.score.higher_is_better

    def evaluated(step: int, score: float) -> None:
        study.report(number, step=step, score=score)
        if options.pruning is None:
            return
        trials = study.trials()
        own, others = trials[number], trials[:number] + trials[number + 1 :]
        if is_hopeless(own, others=others, step=step, higher_is_better=higher_is_better, **rule):
            raise _Hopeless

    trial_folder = _folder(found, number)
    has_begun = bool(manifest.steps(os.path.join(trial_folder, "checkpoints")))
    try:
        config = _with(found.config, trial.settings)
        scores = train(config, workdir=trial_folder, progress=progress, evaluated=evaluated)
    except _Hopeless:
        study.finish(number, "pruned")
    except (Stopped, ProcessGone):
        raise
    except UserError as error:
        is_of_the_disk = isinstance(error.__cause__, OSError)
        if not isinstance(error, NonFiniteError) and (has_begun or is_of_the_disk):
            raise
        study.finish(number, "failed", note=str(error))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        study.finish(number, "failed", note=f"out of memory: {str(error).splitlines()[0]}")
    else:
        score = scores.get(f"dev/{found.score.name}")
        if score is None or score != score:
            study.finish(number, "failed", note=f"dev has no {found.score.title}")
        else:
            study.finish(number, "trained", score=score)


def _with(config: Config, drawn: Mapping[str, Any]) -> Config:
    """The config of a trial. UserError where its settings do not go together."""
    record = config.record()
    origins = record["origins"] | dict.fromkeys(drawn, "search")
    return values.from_record(
        record | {"values": record["values"] | dict(drawn), "origins": origins},
        path=config.file,
        overrides={},
        schema=settings.schema,
    )


def _given(config: Config) -> dict[str, Any]:
    return {k: value for k, value in config.given().items() if not k.startswith("search.")}


def _conclude(found: _Search, number: int) -> None:
    """Says what came of a trial, and writes what is known by now; one process at a time."""
    with found.study.turn:
        trials = found.study.trials()
        best = best_of(trials, higher_is_better=found.score.higher_is_better)
        print(page.verdict(trials[number], best=best, title=found.score.title), flush=True)
        if found.options.keep == "best":
            for trial in trials:
                if trial.is_finished and trial != best:
                    inside = os.path.join(_folder(found, trial.number), "checkpoints")
                    shutil.rmtree(inside, ignore_errors=True)
        if best is not None:
            about = f"Trial {best.number} of a search: dev {found.score.title} {best.score:.6g}."
            text = file.as_file(_given(_with(found.config, best.settings)), about=about)
            folder.write_text(found.workdir, "best.py", text)
        page.write(
            found.workdir,
            trials=trials,
            space=found.config.space,
            score=found.score,
            importances=found.study.importances(),
            about=f"{found.config.file} · {found.options.method}",
        )


def _say_what_came_of_it(found: _Search) -> None:
    trials = found.study.trials()
    best = best_of(trials, higher_is_better=found.score.higher_is_better)
    left = [trial for trial in trials if not trial.is_finished]
    counts = {
        state: sum(t.state == state for t in trials) for state in ("trained", "pruned", "failed")
    }
    print(
        f"{len(trials)} trials: {counts['trained']} trained, {counts['pruned']} ended early, "
        f"{counts['failed']} failed" + (f"; {len(left)} still in other processes" if left else "")
    )
    if best is None and not left:
        notes = [trial.note for trial in trials if trial.note]
        raise UserError(f"no trial could be trained; the first: {(notes or ['no score'])[0]}")
    if best is not None:
        path = os.path.join(found.workdir, "best.py")
        print(
            f"best: trial {best.number}, dev {found.score.title} {best.score:.4f}, "
            f"{page.in_words(best.settings)}\nits config: {path}\n"
            f"report: {os.path.join(found.workdir, page.NAME)}",
            flush=True,
        )


def _folder(found: _Search, number: int) -> str:
    return os.path.join(found.workdir, "trials", f"{number:04d}")
