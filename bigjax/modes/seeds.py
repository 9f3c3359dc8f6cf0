"""Owns `--seeds=0,1,2`: the same run with several seeds, each in a folder of its own, and the mean
and spread of their scores. The same command again resumes."""

import json
import math
import os
import statistics
from typing import NamedTuple

from bigjax.config.values import Config
from bigjax.errors import UserError
from bigjax.loop.loop import Progress
from bigjax.modes.train import train
from bigjax.processes import distributed
from bigjax.report import charts, runs, sections
from bigjax.report.document import document, figures
from bigjax.report.runs import Run
from bigjax.run_folder import folder

NAME = "seeds.html"


class Spread(NamedTuple):
    """Of a score over runs. std: of the sample (n - 1 below the line); None of a single run."""

    mean: float
    std: float | None
    values: list[float]


def parse(text: str) -> list[int]:
    """`0,1,2` as numbers.

    Raises:
      UserError: no whole numbers from 0 to 2**32 - 1, or one twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**32 for part in parts):
        raise UserError(f"--seeds={text}: expected whole numbers from 0 to 2**32 - 1, as in 0,1,2")
    seeds = [int(part) for part in parts]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds={text}: a seed is there twice")
    return seeds


def train_seeds(
    config: Config,
    *,
    seeds: list[int],
    workdir: str,
    allow_config_change: bool,
    progress: Progress,
) -> None:
    """Trains a run for each seed in `workdir`/seed-N, and writes `seeds.json` and `seeds.html`.

    Raises:
      UserError: as training does; `Stopped` after a signal.
    """
    if os.path.exists(os.path.join(workdir, "config.json")):
        raise UserError(f"--workdir={workdir} holds a run; --seeds needs a folder of its own")
    folders = [os.path.join(workdir, f"seed-{seed}") for seed in seeds]
    for seed, inside in zip(seeds, folders):
        of_seed = _with_seed(config, seed)
        if distributed.first_says(_is_done(inside, of_seed)):
            continue
        if distributed.is_first():
            print(f"seed {seed}: {inside}", flush=True)
        train(
            of_seed,
            workdir=inside,
            allow_config_change=allow_config_change,
            progress=progress,
        )
    if distributed.is_first():
        _conclude(runs.read(folders), seeds=seeds, workdir=workdir)


def spreads(found: list[Run]) -> dict[str, Spread]:
    """Mean and spread of every score that all of them have."""
    every = [run.results["scores"] for run in found]
    spread = {}
    for name in every[0]:
        values = [scores.get(name) for scores in every]
        if all(value is not None and math.isfinite(value) for value in values):
            std = statistics.stdev(values) if len(values) > 1 else None
            spread[name] = Spread(statistics.fmean(values), std, values)
    return spread


def _with_seed(config: Config, seed: int) -> Config:
    top = config.values[""] | {"seed": seed}
    return config._replace(
        values=config.values | {"": top}, origins=config.origins | {"seed": "override"}
    )


def _is_done(inside: str, config: Config) -> bool:
    """Whether the run has come to its scores with these very settings."""
    if not os.path.exists(os.path.join(inside, "results.json")):
        return False
    was = folder.read_config_record(inside).get("values")
    return was == json.loads(json.dumps(config.flat()))


def _conclude(found: list[Run], *, seeds: list[int], workdir: str) -> None:
    spread = spreads(found)
    folder.write_text(
        workdir,
        "seeds.json",
        json.dumps(
            {"seeds": seeds, "scores": {name: one._asdict() for name, one in spread.items()}},
            indent=1,
        )
        + "\n",
    )
    folder.write_text(workdir, NAME, _page(found, spread, seeds=seeds))
    headline = [name for name in found[0].results["headline"] if name in spread]
    for name in headline:
        print(f"{name} {_told(spread[name])}")
    print(f"report: {os.path.join(workdir, NAME)}", flush=True)


def _told(one: Spread) -> str:
    std = "" if one.std is None else f" ± {one.std:.4f}"
    return f"{one.mean:.4f}{std} (mean and standard deviation of {len(one.values)} seeds)"


def _page(found: list[Run], spread: dict[str, Spread], *, seeds: list[int]) -> str:
    first = found[0].results
    headline = [name for name in first["headline"] if name in spread]
    big = []
    for name in headline:
        one = spread[name]
        std = "" if one.std is None else f"± {charts.figure(one.std)}"
        big.append((runs.title_of(name, found[0]), sections.text(one.mean), std))
    task = first["task"].replace("_", " ")
    header = (
        f'<p class="task">{sections.escape(task.capitalize())}</p>'
        f"<h1>{len(seeds)} seeds</h1>"
        f'<p class="meta">{", ".join(f"seed {seed}" for seed in seeds)}</p>' + figures(big)
    )
    rows = [
        [runs.title_of(name, found[0]), one.mean, one.std, *one.values]
        for name, one in spread.items()
    ]
    columns = ["score", "mean", "std", *(run.name for run in found)]
    note = (
        "std is the standard deviation of the sample (n - 1 below the line): how far another seed "
        "moves the score."
    )
    blocks = [
        ("Scores", sections.table({"columns": columns, "rows": rows, "note": note})),
        ("Curves", runs.curves(found)),
    ]
    return document(
        [(name, body) for name, body in blocks if body], header=header, title=f"{len(seeds)} seeds"
    )
