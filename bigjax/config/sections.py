"""Owns the settings that every task shares, by section of the config.

This page is the reference: a config file may set any key here, and `--config.SECTION.KEY=VALUE`
overrides it. Sections of a task (`data`, `model`, ...) are listed by the task.
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """The top level.

    task: what is trained.
    num_steps, num_epochs, num_examples: the length of training, in exactly one unit.
    seed: of the initial parameters, the order of the data, and dropout.
    mesh: devices by axis, "data=-1" or "data=2,fsdp=4"; see sharding.py.
    ema_decay: of the exponential moving average of parameters that is evaluated; None: no average.
    steps_per_dispatch: how many updates the devices are given at once, where nothing is to be
      logged, evaluated or saved in between; more make a run of small updates faster, and a signal
      wait for their end. Changes no number beyond rounding, and how a run is cut changes no bit.
    """

    task: str
    num_steps: int | None = None
    num_epochs: float | None = None
    num_examples: int | None = None
    seed: int = 0
    mesh: str = "data=-1"
    ema_decay: float | None = None
    steps_per_dispatch: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """examples: about how many an update sees (sentences, or windows of long ones, packed into
    rows), or rows: exactly how many rows it sees, or tokens: at most how many tokens of text.
    accumulate: in how many parts an update is computed, to save memory, or "auto": the fewest that
      fit; changes no number, except that batch normalisation takes the statistics of each part.
    device_memory_gib: what "auto" and --mode=check count on; None: what the device says it has.
    """

    examples: int | None = None
    rows: int | None = None
    tokens: int | None = None
    accumulate: int | Literal["auto"] = 1
    device_memory_gib: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warmup:
    """name: of the schedule after the warm-up (its own keys: optim.py).
    warmup_*: the length of the linear warm-up, in at most one unit; a fraction is of the run."""

    name: Literal["constant", "linear", "cosine", "rsqrt"] = "linear"
    warmup_steps: int | None = None
    warmup_epochs: float | None = None
    warmup_examples: int | None = None
    warmup_fraction: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Init:
    """checkpoint: where the parameters start: the folder of another run (what has the name and
    shape of a parameter here takes its place), "minilm" (the installed package of weights), a
    Hugging Face folder, a name on the hub ("NAME" or "NAME@REVISION"), or None for random ones.
    resume_from: the folder of a run whose full state (parameters, optimizer, step) this run starts
    from. Either counts only until the run has a checkpoint of its own.
    """

    checkpoint: str | None = None
    resume_from: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """every_*: how often dev is evaluated, in at most one unit; never in between where none is set.
    metric: what "best" means, a score of dev such as "entity_f1"; None: the task's first headline.
    mode: whether a higher or a lower value is better.
    patience: evaluations without a better value after which training stops early; None: never.
    final: whose parameters the final scores are of, the best checkpoint's or the latest's.
    batch_rows: rows of a batch; changes speed alone.
    """

    every_steps: int | None = None
    every_epochs: float | None = None
    every_examples: int | None = None
    metric: str | None = None
    mode: Literal["max", "min"] = "max"
    patience: int | None = None
    final: Literal["best", "latest"] = "best"
    batch_rows: int = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpointing:
    """every_steps, every_minutes: how often the state is saved, besides after every evaluation.
    keep_latest, keep_best: how many of the newest and of the best are kept."""

    every_steps: int | None = None
    every_minutes: float | None = 10.0
    keep_latest: int = 2
    keep_best: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logging:
    """every_steps: how often training's scalars are written.
    batches: write `batches.jsonl`: for each step a hash of which examples its batch held.
    clu: write what the other writers are given with CLU's default writer too, into `clu/`."""

    every_steps: int = 10
    batches: bool = False
    clu: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What --mode=verify_resume does.

    num_steps: of each of its runs, in place of the config's length.
    num_kills: how often one of them is killed.
    """

    num_steps: int = 60
    num_kills: int = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watching:
    """What happens when a run does not go on, in seconds.

    stack_seconds: without an update or a batch of evaluation, until threads' stacks are printed.
    peer_seconds: of silence of another process, until this one ends for a restart (exit code 76).
    hang_seconds: as stack_seconds, until a process of several ends for a restart.
    """

    stack_seconds: float = 600.0
    peer_seconds: float = 60.0
    hang_seconds: float = 1800.0
