"""Owns the end of a run: final scores of every split, `results.json` and the report."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from bigjax.engine.scorer import Scorer
from bigjax.loop.evaluate import outputs_of, scores_of
from bigjax.processes import distributed
from bigjax.report import page
from bigjax.run_folder import calibration, folder
from bigjax.run_folder.writers import Writers
from bigjax.tasks.task import Scores


def score_splits(
    scorer: Scorer,
    *,
    variables: Any,
    step: int,
    workdir: str,
    writer: Writers,
    between: Callable[[], None],
    said: str,
) -> dict[str, float]:
    """Scores every split there is with the variables of `step`; returns "split/score" to value, on
    every process alike.

    Args:
      said: what goes before "scores of step N" in the last line of the terminal.
    """
    task = scorer.task
    scores = _calibrated_scores(
        scorer, variables=variables, step=step, workdir=workdir, between=between
    )
    reported = folder.reported_split(scores)
    if task.scoring.explain is not None and reported is not None:
        run = functools.partial(outputs_of, scorer=scorer, variables=variables, between=between)
        more = task.scoring.explain(reported, lambda dataset: run(dataset)[1])
        found = scores[reported]
        scores[reported] = found._replace(sections=[*found.sections, *more])
    flat = folder.flat_scores(scores)
    for split in scores:
        if split != "dev":  # dev's are there, at their own step
            found = {name: value for name, value in flat.items() if name.startswith(f"{split}/")}
            writer.write_scalars(step, found)
    writer.flush()
    if not distributed.is_first():
        return flat
    if task.data.train is not None:  # else the report is of the run that was trained
        folder.write_data_report(workdir, task=task, findings=task.data.findings())
    intervals = folder.intervals_of(scores)
    folder.write_results(workdir, task=task, scores=scores, intervals=intervals, step=step)
    path = page.write(workdir)
    headline = _headline(scorer, flat, intervals=intervals)
    told = f"; scores of step {step}: {headline}" if flat else "; no split to score"
    writer.write_texts(step, {"summary": f"{said}{told}\nreport: {path}"})
    return flat


def _calibrated_scores(
    scorer: Scorer, *, variables: Any, step: int, workdir: str, between: Callable[[], None]
) -> dict[str, Scores]:
    """Of every split; what corrects the model's confidence is fitted to dev first, and kept."""
    calibrating, evals = scorer.task.scoring.calibrating, scorer.task.data.evals
    found = None if calibrating is None or "dev" in evals else calibration.read(workdir)
    scores = {}
    for split in sorted(evals, key=lambda split: split != "dev"):
        sums, outputs = outputs_of(evals[split], scorer, variables=variables, between=between)
        scores[split] = scores_of(scorer, split=split, sums=sums, outputs=outputs)
        if calibrating is None:
            continue
        if split == "dev":
            found = calibrating.fit(split, outputs)
            if distributed.is_first():
                calibration.write(workdir, found=found, step=step)
        corrected = None if found is None else calibrating.apply(outputs, found)
        more = calibrating.score(split, outputs, corrected)
        scores[split] = scores[split]._replace(
            scalars=scores[split].scalars | more.scalars,
            sections=[*scores[split].sections, *more.sections],
        )
    return scores


def _headline(
    scorer: Scorer,
    flat: Mapping[str, float],
    *,
    intervals: Mapping[str, tuple[float, float]],
) -> str:
    names = [f"{split}/{scorer.task.scoring.headline[0]}" for split in scorer.task.data.evals]
    told = []
    for name in names:
        if name in flat:
            low, high = intervals.get(name, (None, None))
            between = "" if low is None else f" (95%: {low:.4f} to {high:.4f})"
            told.append(f"{name} {flat[name]:.4f}{between}")
    return ", ".join(told)
