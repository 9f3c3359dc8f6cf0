"""Owns which sections the config has, and what settings of different sections must agree on."""

from bigjax import methods
from bigjax.config.choices import Given, Schema, Sections, choose, schema_of, with_more
from bigjax.config.sections import (
    Batch,
    Checkpointing,
    Evaluation,
    Init,
    Logging,
    Optimization,
    Run,
    Search,
    Verification,
    Warmup,
    Watching,
)
from bigjax.config.values import Config
from bigjax.engine.optim import OPTIMIZER
from bigjax.engine.schedules import SCHEDULE
from bigjax.errors import UserError
from bigjax.tasks import TASKS

SHARED: Sections = {
    "": [Run],
    "batch": [Batch],
    "optim": [OPTIMIZER, Optimization],
    "schedule": [SCHEDULE, Warmup],
    "init": [Init],
    "eval": [Evaluation],
    "checkpoint": [Checkpointing],
    "log": [Logging],
    "verify": [Verification],
    "search": [Search],
    "watchdog": [Watching],
    **methods.SECTIONS,
}


def schema(given: Given) -> Schema:
    """Who takes each section, for the choices made in `given`.

    Raises:
      NoSuchChoice: an unknown task, optimizer, schedule, data source, ...
    """
    task = choose(given, "task", among=TASKS)
    return schema_of(with_more(SHARED, TASKS[task].SECTIONS), given)


def check_together(config: Config) -> None:
    """Raises UserError for settings of which each is right, and that do not go together."""
    evaluation = config.of(Evaluation)
    if evaluation.final == "best" and config.of(Checkpointing).keep_best < 1:
        raise UserError(
            "config.checkpoint.keep_best=0 keeps no best checkpoint for eval.final='best'; set "
            "--config.eval.final=latest, or keep one"
        )
