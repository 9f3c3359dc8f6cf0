"""Owns what a run starts from: its own newest whole checkpoint, another run's full state, given
parameters, or random ones, in this order. Reading files belongs to `restore.py` and the tasks."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from bigjax.checkpoints import restore
from bigjax.checkpoints.save import Checkpoints, Facts
from bigjax.config.sections import Init
from bigjax.engine.build import Setup, init_function, num_params
from bigjax.engine.collectives import in_order
from bigjax.engine.state import TrainState
from bigjax.errors import ProcessGone, UserError, first_of
from bigjax.models import origins
from bigjax.processes import distributed
from bigjax.trees import leaf_names

NO_FACTS: Facts = {"best_score": None, "best_step": None, "without_better": 0, "evaluated": None}


class Start(NamedTuple):
    """restored: whether it is the run's own checkpoint, so that nothing of it need be saved.
    facts: what the run knows so far: the best score and its step, how many evaluations ago that
      was, and the step that was evaluated last.
    """

    state: TrainState
    facts: Facts
    restored: bool


def begin(setup: Setup, checkpoints: Checkpoints) -> Start:
    """The state to go on from; says on the terminal which it is.

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
    size = f"{num_params(setup.state):,} parameters on {devices}"
    if checkpoints.steps():
        state, facts, messages = checkpoints.restore_newest(like=setup.state)
        for message in messages:
            print(f"warning: {message}", file=sys.stderr, flush=True)
        _say(f"resuming at step {int(state.step)} of {setup.total_steps}; {size}")
        return Start(state, facts, restored=True)
    if resume_from is not None:
        state = _full_state_of(resume_from, setup=setup)
        _say(f"starting from the state of {resume_from}, at step {int(state.step)}; {size}")
        return Start(state, NO_FACTS, restored=False)
    state, source = new_state(setup)
    data = setup.task.train
    _say(
        f"starting from {source} parameters; {size}; {data.num_examples:,} examples, "
        f"{setup.total_steps:,} steps of {data.batch_rows} rows, {data.fill:.1%} filled"
    )
    return Start(state, NO_FACTS, restored=False)


def _compare(facts: Mapping[str, Any], *, what: str) -> None:
    mend = "see that all of them see the same --workdir, and start again"
    try:
        distributed.compare(facts, what=what, mend=mend)
    except UserError as error:
        raise ProcessGone(str(error)) from error


def new_state(setup: Setup) -> tuple[TrainState, str]:
    """The state before the first update, and where its parameters come from.

    Given parameters take the place of random ones of the same name and shape, and what matched,
    what is missing and what was dropped is said.
    """
    shardings = jax.tree.map(lambda x: x.sharding, setup.state)
    init = init_function(setup.config, setup.task, setup.optimizer)
    given = _given(setup)
    if given is None:
        return jax.jit(init, out_shardings=shardings)(), "random"
    variables, source = given
    wanted = {"params": setup.state.params, **setup.state.model_state}
    chosen, report = match(variables, wanted=wanted, source=source)
    _say(report)
    placed = jax.tree.map(
        lambda x, like: None if x is None else jax.device_put(x.astype(like.dtype), like.sharding),
        chosen,
        wanted,
        is_leaf=lambda x: x is None,
    )
    return jax.jit(lambda found: init(given=found), out_shardings=shardings)(placed), source


def match(variables: Mapping[str, Any], *, wanted: Any, source: str) -> tuple[Any, str]:
    """What of the arrays `variables` has a place in `wanted` (shapes): a tree like `wanted` that
    holds None where there is none, and a line that says what matched.

    Raises:
      UserError: nothing matched.
    """
    there = dict(zip(leaf_names(variables), jax.tree.leaves(variables)))
    names, leaves = leaf_names(wanted), jax.tree.leaves(wanted)
    fits = lambda x, like: x is not None and tuple(x.shape) == tuple(like.shape)  # noqa: E731
    found = [there.get(name) for name in names]
    found = [x if fits(x, like) else None for x, like in zip(found, leaves)]
    missing = [name for name, x in zip(names, found) if x is None]
    taken = set(names) - set(missing)
    dropped = [f"{name} {tuple(x.shape)}" for name, x in there.items() if name not in taken]
    if not taken:
        raise UserError(
            f"init.checkpoint={source}: none of its {len(there)} arrays has the name and shape of "
            f"one of this model's; it has {first_of(list(there))}, the model has {first_of(names)}"
        )
    parts = [f"{len(taken)} of {len(names)} arrays matched"]
    if missing:
        parts.append(f"{len(missing)} missing, which start at random ({first_of(missing)})")
    if dropped:
        parts.append(f"{len(dropped)} dropped ({first_of(dropped)})")
    tree = jax.tree.unflatten(jax.tree.structure(wanted), found)
    return tree, f"init.checkpoint={source}: {'; '.join(parts)}"


def _given(setup: Setup) -> tuple[Mapping[str, Any], str] | None:
    """Given variables, and where they come from; None to start at random."""
    checkpoint = setup.config.of(Init).checkpoint
    if checkpoint is not None and origins.run_of(checkpoint):
        params, model_state, step = restore.read_params(checkpoint)
        return {"params": params, **model_state}, f"{checkpoint} (step {step})"
    if setup.task.pretrained is None:
        if checkpoint is not None:
            raise UserError(
                f"init.checkpoint={checkpoint}: not a run folder of bigjax (it has no checkpoints) "
                "and this task reads no other kind"
            )
        return None
    params, source = setup.task.pretrained()
    return {"params": params}, source


def _full_state_of(path: str, *, setup: Setup) -> TrainState:
    """The newest whole state of another run, of which nothing is touched."""
    state, _ = restore.read_newest(path, like=setup.state)
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
