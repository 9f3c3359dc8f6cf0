"""Owns what a run starts from: its own newest whole checkpoint, another run's full state, given
parameters, or random ones, in this order. Reading files belongs to `restore.py` and the tasks."""

import os
import sys
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax

from bigjax.checkpoints import manifest, restore
from bigjax.checkpoints.hashes import by_name, content_hashes
from bigjax.checkpoints.manifest import DamagedCheckpoint
from bigjax.checkpoints.save import Checkpoints, Facts
from bigjax.config.sections import Init
from bigjax.engine.build import Setup, init_function, num_params
from bigjax.engine.scorer import Scorer
from bigjax.engine.state import TrainState
from bigjax.errors import ProcessGone, UserError, first_of
from bigjax.methods.given import match
from bigjax.models import origins
from bigjax.processes import distributed
from bigjax.processes.dispatch import in_order
from bigjax.trees import leaf_names

NO_FACTS: Facts = {"best_score": None, "best_step": None, "without_better": 0, "evaluated": None}


class Start(NamedTuple):
    """restored: whether it is the run's own checkpoint, so that nothing of it need be saved.
    facts: what the run knows so far: the best score and its step, how many evaluations ago that
      was, and the step that was evaluated last.
    source: where its parameters come from; None where it is the run's own checkpoint.
    """

    state: TrainState
    facts: Facts
    restored: bool
    source: str | None


def begin(setup: Setup, checkpoints: Checkpoints) -> Start:
    """The state to start from; says on the terminal which it is.

    Raises:
      UserError: a checkpoint that cannot be read or does not fit this config.
      ProcessGone: processes that do not see the same checkpoints.
    """
    found = _begin(setup, checkpoints)
    in_order(found.state)
    _compare({"the step it starts at": int(found.state.step)}, what="start")
    return found


def _begin(setup: Setup, checkpoints: Checkpoints) -> Start:
    # Before what processes do together, which hangs where some read a checkpoint and some do not.
    _compare({"the steps of its checkpoints": checkpoints.steps()}, what="checkpoints")
    resume_from = setup.config.of(Init).resume_from
    num_devices = setup.mesh.size
    devices = f"{num_devices} {jax.default_backend()} device{'s' * (num_devices > 1)}"
    beside = sum(x.size for x in jax.tree.leaves(setup.frozen))
    beside = f" beside {beside:,} frozen" if beside else ""
    size = f"{num_params(setup.state):,} parameters{beside} on {devices}"
    if checkpoints.steps():
        state, facts, messages = checkpoints.restore_newest(like=setup.state)
        for message in messages:
            print(f"warning: {message}", file=sys.stderr, flush=True)
        _check_frozen(facts, setup.frozen, where=f"--workdir: checkpoint {int(state.step)}")
        _say(f"resuming at step {int(state.step)} of {setup.total_steps}; {size}")
        return Start(state, facts, restored=True, source=None)
    facts = NO_FACTS | ({"frozen": _frozen_hashes(setup.frozen)} if setup.frozen else {})
    if resume_from is not None:
        state = _full_state_of(resume_from, setup=setup)
        _say(f"starting from the state of {resume_from}, at step {int(state.step)}; {size}")
        return Start(state, facts, restored=False, source=f"the state of {resume_from}")
    state, source = new_state(setup)
    data = setup.task.data.train
    _say(
        f"starting from {source} parameters; {size}; {data.num_examples:,} examples, "
        f"{setup.total_steps:,} steps of {data.batch_rows} rows, {data.fill:.1%} filled"
    )
    return Start(state, facts, restored=False, source=source)


def trained(scorer: Scorer, *, workdir: str, which: Literal["best", "latest"]) -> tuple[Any, int]:
    """What the run in `workdir` has learnt, as `scorer.eval_step` takes it, and its step.

    Args:
      which: the best checkpoint, where dev was evaluated, or the latest.

    Raises:
      UserError: there is none, it cannot be read, or it is not of this model.
      ProcessGone: processes that do not see the same checkpoints.
    """
    variables, frozen, step = saved(scorer, workdir=workdir, which=which)
    if scorer.saved is not None:
        variables = scorer.saved.used(variables, frozen)
    return scorer.prepare(variables), step


def saved(
    scorer: Scorer, *, workdir: str, which: Literal["best", "latest"]
) -> tuple[Any, Any, int]:
    """The same as checkpoints hold it; what it was trained beside; and its step."""
    inside = os.path.join(workdir, "checkpoints")
    steps = manifest.steps(inside)
    _compare({"the steps of its checkpoints": steps}, what="checkpoints")
    if not steps:
        raise UserError(f"--workdir={workdir}: no checkpoint to evaluate; train first")
    like, frozen = scorer.variables, scorer.frozen
    if scorer.saved is not None:
        like, frozen = scorer.saved.variables, scorer.saved.frozen()
    for step in reversed(steps):
        try:
            facts = restore.agreed(os.path.join(inside, str(step))).facts
            _check_read(facts, frozen, where=f"checkpoint {step} in {inside}")
            best = facts["best_step"] if which == "best" else None
            scored = step if best is None else best
            return scored_checkpoint(workdir, step=scored, like=like), frozen, scored
        except DamagedCheckpoint as error:
            if step == steps[0]:
                raise
            print(f"warning: {error}; trying the one before", file=sys.stderr, flush=True)
    raise AssertionError("there is a step")


def scored_checkpoint(workdir: str, *, step: int, like: Any) -> Any:
    """What is scored of the checkpoint of `step` of the run in `workdir`, onto the shardings of
    `like`; UserError where it is not there or cannot be read."""
    path = os.path.join(os.path.abspath(workdir), "checkpoints", str(step))
    if not os.path.isdir(path):
        raise UserError(
            f"--workdir={workdir}: the best checkpoint, of step {step}, is not there; score the "
            "latest one with --config.eval.final=latest"
        )
    return restore.read_variables(path, like=like)


def _check_frozen(facts: Facts, frozen: Any, *, where: str) -> None:
    """Raises UserError where what nothing trains is not what it was when `facts` were saved."""
    was, now = facts.get("frozen", {}), _frozen_hashes(frozen)
    differ = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if differ:
        raise UserError(
            f"{where} was trained beside other frozen variables: {first_of(differ)} differ; give "
            "the model that it was trained with, or use another --workdir"
        )


def _check_read(facts: Facts, frozen: Any, *, where: str) -> None:
    """The same of what a finished run's model still reads: a teacher, say, it does not."""
    kept = {name: x for name, x in facts.get("frozen", {}).items() if name in leaf_names(frozen)}
    _check_frozen(facts | {"frozen": kept}, frozen, where=where)


def _frozen_hashes(frozen: Any) -> dict[str, str]:
    return by_name(frozen, hashes=content_hashes(frozen)) if frozen else {}


def _compare(facts: Mapping[str, Any], *, what: str) -> None:
    fix = "check that all of them see the same --workdir, and run the same command again"
    try:
        distributed.compare(facts, what=what, fix=fix)
    except UserError as error:
        raise ProcessGone(str(error)) from error


def new_state(setup: Setup) -> tuple[TrainState, str]:
    """The state before the first update, and where its parameters come from.

    Given parameters take the place of random ones of the same name and shape, and what matched,
    what is missing and what was dropped is said.
    """
    shardings = jax.tree.map(lambda x: x.sharding, setup.state)
    init = init_function(setup.config, setup.task, setup.optimizer)
    if setup.task.model.pretrained is None:
        return jax.jit(init, out_shardings=shardings)(), "random"
    found = setup.task.model.pretrained()
    wanted = {"params": setup.state.params, **setup.state.model_state}
    chosen, report = match(found, wanted=wanted)
    _say(report)
    placed = jax.tree.map(
        lambda x, like: None if x is None else jax.device_put(x.astype(like.dtype), like.sharding),
        chosen,
        wanted,
        is_leaf=lambda x: x is None,
    )
    return jax.jit(lambda found: init(given=found), out_shardings=shardings)(placed), found.source


def _full_state_of(path: str, *, setup: Setup) -> TrainState:
    """The newest whole state of another run, of which nothing is touched.

    Raises:
      UserError: it means something else, as its tokenizer or the names of its classes differ; or it
        ends where this run ends.
    """
    for name, content in setup.task.use.files.items():
        other = os.path.join(origins.run_of(path) or path, name)
        if os.path.exists(other):
            with open(other, encoding="utf-8", errors="surrogateescape", newline="") as file:
                if file.read() != content:
                    raise UserError(
                        f"init.resume_from={path}: its {name} is not this run's, so its state "
                        "means something else; init.checkpoint takes its parameters and fits them"
                    )
    state, facts = restore.read_newest(path, like=setup.state)
    _check_frozen(facts, setup.frozen, where=f"init.resume_from={path}")
    step = int(state.step)
    if step >= setup.total_steps:
        raise UserError(
            f"init.resume_from={path}: is at step {step}, and this run ends at step "
            f"{setup.total_steps}; make it longer, or take parameters alone with init.checkpoint"
        )
    return state


def _say(line: str) -> None:
    if jax.process_index() == 0:
        print(line, flush=True)
