"""Owns which parameters a model is given to begin with, of another run or as its task finds them,
and what of them has a place in it. Random ones belong to the model."""

from typing import Any

import jax

from bigjax.checkpoints import restore
from bigjax.config.sections import Init
from bigjax.config.values import Config
from bigjax.errors import UserError, first_of
from bigjax.methods import lora_files
from bigjax.models import origins
from bigjax.tasks.task import Model, Pretrained, Task
from bigjax.trees import leaf_names


def with_start(task: Task, config: Config) -> Task:
    """The task, whose `pretrained` also reads the run that `init.checkpoint` may name."""
    checkpoint = config.of(Init).checkpoint
    if checkpoint is None:
        return task
    run = origins.run_of(checkpoint)
    if run is None and task.model.pretrained is not None:
        return task

    def pretrained() -> Pretrained:
        if run is None:
            raise UserError(
                f"init.checkpoint={checkpoint}: not a run folder of bigjax (it has no checkpoints) "
                "and this task reads no other kind"
            )
        return of_run(checkpoint, run=run, model=task.model)

    return task._replace(model=task.model._replace(pretrained=pretrained))


def of_run(checkpoint: str, *, run: str, model: Model) -> Pretrained:
    """What the run in the folder `run`, or one `checkpoint` of it, has learnt, as `model` has it.

    Raises:
      UserError: it cannot be read.
    """
    params, model_state, step = read_whole(checkpoint, run=run)
    note = ""
    if model.adopt is not None:
        params, note = model.adopt(params, run)
    return Pretrained(params, f"{checkpoint} (step {step})", note, model_state)


def read_whole(checkpoint: str, *, run: str) -> tuple[Any, Any, int]:
    """As `restore.read_params`, with adapters of the run in `run` merged into what they adapt."""
    params, model_state, step = restore.read_params(checkpoint)
    return lora_files.merged_of_run(params, run=run), model_state, step


def match(found: Pretrained, *, wanted: Any) -> tuple[Any, str]:
    """What of `found` has a place in `wanted` (shapes of variables): a tree like it that holds
    None where there is nothing, and a line that says what matched.

    Raises:
      UserError: less than half of `wanted` has an array.
    """
    variables = {"params": found.params, **found.model_state}
    there = dict(zip(leaf_names(variables), jax.tree.leaves(variables)))
    names, leaves = leaf_names(wanted), jax.tree.leaves(wanted)
    fits = lambda x, like: x is not None and tuple(x.shape) == tuple(like.shape)  # noqa: E731
    arrays = [there.get(name) for name in names]
    arrays = [x if fits(x, like) else None for x, like in zip(arrays, leaves)]
    tree = jax.tree.unflatten(jax.tree.structure(wanted), arrays)
    if found.matched is not None:
        return tree, found.matched
    missing = [name for name, x in zip(names, arrays) if x is None]
    taken = set(names) - set(missing)
    dropped = [f"{name} {tuple(x.shape)}" for name, x in there.items() if name not in taken]
    if 2 * len(taken) < len(names):
        raise UserError(
            f"init.checkpoint={found.source}: {len(taken) or 'none'} of its {len(there)} arrays "
            f"has the name and shape of one of this model's {len(names)}; missing are "
            f"{first_of(missing)}; it has {first_of(list(there))}; give a model of this "
            "architecture and size"
        )
    parts = [f"{len(taken)} of {len(names)} arrays matched"]
    if missing:
        parts.append(f"{len(missing)} missing, which start at random ({first_of(missing)})")
    if dropped:
        parts.append(f"{len(dropped)} dropped ({first_of(dropped)})")
    parts += [found.note] if found.note else []
    return tree, f"init.checkpoint={found.source}: {'; '.join(parts)}"
