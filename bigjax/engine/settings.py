"""Owns which functions take which section of the config, and the limits of its numbers."""

import math
from collections.abc import Mapping
from typing import Any

from bigjax.config.sections import (
    Batch,
    Checkpointing,
    Evaluation,
    Init,
    Logging,
    Run,
    Verification,
    Warmup,
    Watching,
)
from bigjax.config.values import Config, Schema, choice
from bigjax.engine import optim, schedules
from bigjax.errors import UserError
from bigjax.tasks import TASKS

# Least and greatest sensible values; what lies outside is refused before anything runs.
LIMITS: dict[str, tuple[float, float]] = {
    "num_steps": (1, math.inf),
    "seed": (0, 2**32 - 1),
    "ema_decay": (0, 1),
    "steps_per_dispatch": (1, 4096),
    "batch.accumulate": (1, math.inf),
    "batch.device_memory_gib": (1e-3, math.inf),
    "model.num_layers": (1, math.inf),
    "model.hidden_size": (1, math.inf),
    "model.num_heads": (1, math.inf),
    "model.mlp_size": (1, math.inf),
    "model.max_positions": (1, math.inf),
    "model.dropout": (0, 0.99),
    "model.attention_dropout": (0, 0.99),
    "loss.label_smoothing": (0, 0.99),
    "optim.learning_rate": (0, math.inf),
    "optim.weight_decay": (0, math.inf),
    "optim.clip_norm": (1e-12, math.inf),
    "optim.layer_decay": (1e-12, 1),
    "schedule.floor": (0, 1),
    "schedule.timescale_steps": (1, math.inf),
    "eval.every_steps": (1, math.inf),
    "eval.every_epochs": (1e-12, math.inf),
    "eval.every_examples": (1, math.inf),
    "eval.patience": (1, math.inf),
    "eval.batch_rows": (1, math.inf),
    "checkpoint.every_steps": (1, math.inf),
    "checkpoint.every_minutes": (0, math.inf),
    "checkpoint.keep_latest": (1, math.inf),
    "checkpoint.keep_best": (0, math.inf),
    "log.every_steps": (1, math.inf),
    "verify.num_steps": (2, math.inf),
    "verify.num_kills": (0, math.inf),
    "watchdog.stack_seconds": (1, math.inf),
    "watchdog.peer_seconds": (5, math.inf),
    "watchdog.hang_seconds": (5, math.inf),
    "augment.pad_crop": (0, math.inf),
    "augment.cutout": (0, math.inf),
    "augment.randaugment_layers": (0, math.inf),
    "augment.randaugment_magnitude": (0, 30),
    "augment.mixup_alpha": (0, math.inf),
    "augment.cutmix_alpha": (0, math.inf),
    "data.image_size": (1, math.inf),
    "data.cache_gib": (0, math.inf),
}


def check_limits(config: Config) -> None:
    """Raises UserError for a number outside its limits."""
    for key, value in config.flat().items():
        low, high = LIMITS.get(key, (-math.inf, math.inf))
        if isinstance(value, (int, float)) and not (low <= value <= high and math.isfinite(value)):
            expected = f"from {low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
            raise UserError(f"config.{key}={value!r}: expected {expected}")
    if config["eval"]["final"] == "best" and config["checkpoint"]["keep_best"] < 1:
        raise UserError(
            "config.checkpoint.keep_best=0 keeps no best checkpoint for eval.final='best'; set "
            "--config.eval.final=latest, or keep one"
        )
    if config["eval"]["metric"] == "loss" and config["eval"]["mode"] == "max":
        raise UserError(
            "config.eval.metric='loss' with eval.mode='max' would keep the highest loss; set "
            "--config.eval.mode=min"
        )


def schema(values: Mapping[str, Mapping[str, Any]]) -> Schema:
    """The functions that take each section, for the choices made in `values`.

    Raises:
      UserError: an unknown task, optimizer, schedule or data source.
    """
    task = choice(values, "task", among=TASKS)
    optimizer = choice(values, "optim.name", among=optim.OPTIMIZERS, default="adamw")
    schedule = choice(values, "schedule.name", among=schedules.SCHEDULES, default="linear")
    return {
        "": [Run],
        **TASKS[task].sections(values),
        "init": [Init],
        "batch": [Batch],
        "optim": [optim.make_optimizer, optim.OPTIMIZERS[optimizer]],
        "schedule": [Warmup, schedules.SCHEDULES[schedule]],
        "eval": [Evaluation],
        "checkpoint": [Checkpointing],
        "log": [Logging],
        "verify": [Verification],
        "watchdog": [Watching],
    }
