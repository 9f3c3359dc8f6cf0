"""Owns the settings that every task shares, by section of the config; `docs/settings.md` is the
page made of them. A task's own sections (`data`, `model`, ...) are in its folder.
"""

import dataclasses
from typing import Annotated, Literal

from bigjax.config.fields import AtLeast, Between

DECAY_RULES = ((r".*(bias|scale)", 0.0), (r".*", 1.0))
Multipliers = tuple[tuple[str, float], ...]  # ordered rules, see Optimization


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What is trained, how long, on which devices."""

    task: Annotated[str, "what is trained"]
    num_steps: Annotated[
        int | None,
        AtLeast(1),
        "the length of training in updates; give it in exactly one unit: num_steps, num_epochs or "
        "num_examples",
    ] = None
    num_epochs: Annotated[
        float | None, AtLeast(0), "the length in passes over the training data, also 0.5"
    ] = None
    num_examples: Annotated[
        int | None, AtLeast(0), "the length in examples (sentences, images) seen"
    ] = None
    seed: Annotated[
        int,
        Between(0, 2**32 - 1),
        "of the initial parameters, the order of the data, dropout and augmentation",
    ] = 0
    mesh: Annotated[
        str,
        "how devices share the work, axis=number: data (copies of the model), fsdp (its parameters "
        "split), tensor (its layers split); -1: all devices that are left, as in data=-1,fsdp=4",
    ] = "data=-1"
    ema_decay: Annotated[
        float | None,
        Between(0, 1),
        "evaluates an exponential moving average of the parameters with this decay; None: the "
        "parameters themselves",
    ] = None
    steps_per_dispatch: Annotated[
        int,
        Between(1, 4096),
        "updates that devices are given at once where nothing has to be logged, evaluated or saved "
        "in between: faster for small updates, and a signal waits for their end",
    ] = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """How much one update sees, and in how many parts it is computed."""

    examples: Annotated[
        int | None,
        AtLeast(1),
        "about how many examples an update sees: images, or sentences, or windows of long ones, "
        "packed into rows; give this, rows or tokens",
    ] = None
    rows: Annotated[int | None, AtLeast(1), "exactly how many rows an update sees"] = None
    tokens: Annotated[
        int | None, AtLeast(1), "at most how many tokens of text an update sees, padding included"
    ] = None
    accumulate: Annotated[
        int | Literal["auto"],
        AtLeast(1),
        "parts in which an update is computed, one after the other, to save memory; 'auto': the "
        "fewest that fit. Changes no number, but batch normalisation takes the statistics of each "
        "part",
    ] = 1
    device_memory_gib: Annotated[
        float | None,
        AtLeast(1e-3),
        "the memory of a device that accumulate='auto' and --mode=check count on; None: what the "
        "device says it has, or of a CPU, the machine",
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a gradient becomes an update. Rules are pairs (regular expression, value) over the whole
    names of parameters, such as `encoder/layer_0/out/kernel`; the first that matches counts."""

    learning_rate: Annotated[float, AtLeast(0), "the highest one, which the schedule scales"]
    weight_decay: Annotated[
        float,
        AtLeast(0),
        "share of each parameter that is taken off it in an update, times the learning rate "
        "(decoupled from the gradient, whatever the optimizer)",
    ] = 0.0
    weight_decay_rules: Annotated[
        Multipliers, "multiplier of weight_decay for each parameter; 0: no decay"
    ] = DECAY_RULES
    learning_rate_rules: Annotated[
        Multipliers, "multiplier of the learning rate for each parameter; 0: frozen"
    ] = ((r".*", 1.0),)
    layer_decay: Annotated[
        float,
        Between(1e-12, 1),
        "the learning rate of each layer is that of the one above it times this",
    ] = 1.0
    clip_norm: Annotated[
        float | None,
        AtLeast(1e-12),
        "a gradient whose norm over all parameters is larger is scaled down to it; None: never",
    ] = 1.0
    param_dtype_rules: Annotated[
        tuple[tuple[str, str], ...],
        "type in which each parameter is stored, 'float32' or 'bfloat16', which is rounded at "
        "random after each update",
    ] = ((r".*", "float32"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warmup:
    """The course of the learning rate: up from 0 in a straight line, then as the schedule says."""

    warmup_steps: Annotated[
        int | None,
        AtLeast(0),
        "the length of the warm-up in updates; give it in at most one unit; None of them: no "
        "warm-up",
    ] = None
    warmup_epochs: Annotated[float | None, AtLeast(0), "the length in passes over the data"] = None
    warmup_examples: Annotated[int | None, AtLeast(0), "the length in examples seen"] = None
    warmup_fraction: Annotated[
        float | None, Between(0, 1), "the length as a share of the whole run"
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Init:
    """Where a run starts; counts only until it has a checkpoint of its own."""

    checkpoint: Annotated[
        str | None,
        "where the parameters start: the folder of another run (what has the name and shape of a "
        "parameter here takes its place), a Hugging Face folder or a name on its hub, 'minilm' "
        "(the installed package of weights); None: random",
    ] = None
    resume_from: Annotated[
        str | None,
        "the folder of a run whose whole state (parameters, optimizer, step) this run starts from",
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How often dev is scored, and what counts as the best checkpoint."""

    every_steps: Annotated[
        int | None,
        AtLeast(1),
        "updates between evaluations of dev; give it in at most one unit; None of them: only at "
        "the end",
    ] = None
    every_epochs: Annotated[
        float | None, AtLeast(1e-12), "passes over the data between evaluations, also 0.5"
    ] = None
    every_examples: Annotated[int | None, AtLeast(1), "examples between evaluations"] = None
    metric: Annotated[
        str | None,
        "the score of dev that says which checkpoint is best, such as 'entity_f1'; None: the "
        "task's first",
    ] = None
    patience: Annotated[
        int | None,
        AtLeast(1),
        "evaluations without a better score after which training stops early; None: never",
    ] = None
    target: Annotated[
        float | None,
        "the value of that score at which training ends; a loss or an error ends it at this value "
        "or below; None: never",
    ] = None
    final: Annotated[Literal["best", "latest"], "which checkpoint the final scores are of"] = "best"
    batch_rows: Annotated[int, AtLeast(1), "rows of a batch in scoring; changes speed alone"] = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpointing:
    """How often the state is saved, besides after every evaluation, and what is kept."""

    every_steps: Annotated[int | None, AtLeast(1), "updates between saves; None: by time"] = None
    every_minutes: Annotated[
        float | None, AtLeast(0), "minutes between saves; None: not by time"
    ] = 10.0
    keep_latest: Annotated[int, AtLeast(1), "how many of the newest checkpoints are kept"] = 2
    keep_best: Annotated[int, AtLeast(0), "how many of the best on dev are kept besides"] = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logging:
    """What is written while training."""

    every_steps: Annotated[
        int, AtLeast(1), "updates between two lines of loss, learning rate and speed"
    ] = 10
    batches: Annotated[
        bool, "writes batches.jsonl: for each step a hash of the examples that its batch held"
    ] = False
    clu: Annotated[
        bool, "writes what the other writers are given with CLU's default writer too, into clu/"
    ] = False
    trackers: Annotated[
        tuple[Literal["wandb", "mlflow"], ...],
        "writes scalars and settings to these too, into the run folder unless their environment "
        "variables say otherwise; one that fails never stops a run",
    ] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What `--mode=verify_resume` does."""

    num_steps: Annotated[
        int, AtLeast(2), "updates of each of its runs, in place of the length given"
    ] = 60
    num_kills: Annotated[int, AtLeast(0), "how often one of its runs is killed"] = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What `--mode=search` does. Under `search.space` stand the settings that it tries, each with
    its range: `('log', LOW, HIGH)`, `('uniform', LOW, HIGH)` or `('choice', VALUE, VALUE, ...)`;
    see [search.md](search.md)."""

    method: Annotated[
        Literal["tpe", "random", "grid"],
        "how the settings of a trial are drawn: by what earlier ones scored (tree-structured "
        "Parzen estimator), at random, or every combination of choices in turn",
    ] = "tpe"
    num_trials: Annotated[
        int | None, AtLeast(1), "how many there are; None: 20, or of a grid every combination"
    ] = None
    pruning: Annotated[
        Literal["median"] | None,
        "ends a trial whose best score so far is worse than the median of what others had after as "
        "many evaluations; None: every trial is trained to its end",
    ] = "median"
    pruning_after: Annotated[
        int, AtLeast(1), "trials that have to be trained to their end before any is ended early"
    ] = 5
    pruning_warmup: Annotated[
        int, AtLeast(0), "evaluations of a trial after which it is never ended"
    ] = 1
    seed: Annotated[
        int, Between(0, 2**32 - 1), "of what is drawn; a trial trains with the run's own seed"
    ] = 0
    storage: Annotated[
        str | None,
        "where Optuna keeps the study: a file, or the URL of a database such as "
        "'sqlite:///study.db'; None: the file study.log in the folder of the search",
    ] = None
    study: Annotated[
        str | None, "the study's name in its storage; None: that of the folder of the search"
    ] = None
    keep: Annotated[
        Literal["best", "all"], "whose checkpoints stay: the best trial's, or all trials'"
    ] = "best"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watching:
    """What happens when a run makes no progress, in seconds."""

    stack_seconds: Annotated[
        float,
        AtLeast(1),
        "without an update or a batch of evaluation, until the stacks of all threads are printed",
    ] = 600.0
    peer_seconds: Annotated[
        float,
        AtLeast(5),
        "of silence of another process, until this one ends for a restart (exit code 76)",
    ] = 60.0
    hang_seconds: Annotated[
        float,
        AtLeast(5),
        "without progress as above, until a process of several ends for a restart (exit code 76)",
    ] = 1800.0
