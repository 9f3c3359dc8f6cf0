"""Owns training a model on what a finished one says (Hinton et al. 2015): which teachers fit, what
they are asked for, and the loss.

The teacher is `Variables["frozen"]["teacher"]`: neither donated, saved, nor given a gradient.

Suffixes: B batch rows, C classes, D features; ... are what a row has of labelled positions.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config import values as configs
from bigjax.config.choices import Given, Schema, choose, schema_of, with_more
from bigjax.config.fields import AtLeast, Between
from bigjax.config.sections import Batch, Evaluation, Init, Run
from bigjax.config.values import Config
from bigjax.errors import UserError, first_of
from bigjax.methods import given
from bigjax.models import ops, origins
from bigjax.scores.metrics import Mean
from bigjax.tasks import TASKS
from bigjax.tasks.task import Model, Outputs, Sums, Task, told_apart

TEACHER, HIDDEN = "teacher", "given to the head"
HOW = "expected a finished run of this task with the same tokenizer and tags or classes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """Trains on what a finished run says of each labelled position, beside the labels; see
    [methods.md](methods.md)."""

    teacher: Annotated[str | None, "the folder of that run; None: off"] = None
    weight: Annotated[
        float, Between(0, 1), "the teacher's share of the loss; the rest is that of the labels"
    ] = 0.5
    temperature: Annotated[
        float,
        AtLeast(1e-3),
        "what both models' logits are divided by where they are compared: above 1 the classes that "
        "the teacher thinks less likely count for more",
    ] = 2.0
    hidden: Annotated[
        float,
        AtLeast(0),
        "adds so many times the mean squared difference of what the two heads are given; both "
        "models need the same width",
    ] = 0.0


def wrap(task: Task, config: Config) -> Task:
    """The task with a teacher; itself where there is none.

    Raises:
      UserError: no such run, or one that does not fit; a model that cannot be taught.
    """
    settings = config.of(Distillation)
    if settings.teacher is None:
        return task
    run = origins.run_of(os.path.expanduser(settings.teacher))
    if run is None:
        raise UserError(
            f"distill.teacher={settings.teacher}: is no run (it has no checkpoints); {HOW}"
        )
    teacher = _load(run, setting=settings.teacher)
    _check_files(task, teacher, setting=settings.teacher)
    taught = _Taught(task.model, teacher.model, settings)
    _check_outputs(task, taught)
    model = task.model._replace(
        apply=functools.partial(_apply, taught),
        train_sums=functools.partial(_train_sums, taught),
        frozen=functools.partial(_frozen, task.model, settings.teacher, run=run),
    )
    return task._replace(model=model)


@dataclasses.dataclass(frozen=True)
class _Taught:
    student: Model
    teacher: Model
    settings: Distillation


def _load(run: str, *, setting: str) -> Task:
    """The teacher's task, by the settings that it reads of its run."""
    try:
        with open(os.path.join(run, "config.json"), encoding="utf-8") as file:
            record = json.load(file)
        name = record["values"]["task"]
        read = _sections(name)
        kept = {k: x for k, x in record["values"].items() if k.rpartition(".")[0] in read}
        record = {**record, "values": kept}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"distill.teacher={setting}: {error}; {HOW}") from error
    config = configs.from_record(
        record, path=os.path.join(run, "config.json"), overrides={}, schema=_schema
    )
    return TASKS[name].load(config, run, splits=())


def _sections(name: str) -> dict[str, Any]:
    shared = {"": [Run], "batch": [Batch], "init": [Init], "eval": [Evaluation]}
    return dict(with_more(shared, TASKS[name].SECTIONS))


def _schema(settings: Given) -> Schema:
    return schema_of(_sections(choose(settings, "task", among=TASKS)), settings)


def _check_files(task: Task, teacher: Task, *, setting: str) -> None:
    if task.name != teacher.name:
        raise UserError(f"distill.teacher={setting}: is a run of {teacher.name}; {HOW}")
    if differ := told_apart(task, teacher):
        raise UserError(
            f"distill.teacher={setting}: its {first_of(differ)} differ from this run's, so what it "
            f"says means something else; {HOW}: init.checkpoint={setting} takes its tokenizer"
        )


def _check_outputs(task: Task, taught: _Taught) -> None:
    """Both models on a row of training, without computing anything."""
    if task.data.train is None:
        return
    rows = task.data.train.rows(np.zeros(1, np.int64)) | {"row": np.zeros(1, np.int32)}

    def outputs(model: Model) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        variables = nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0)))
        return jax.eval_shape(lambda v: _with_hidden(model, v, rows, None)[::2], variables)

    (found, hidden), (theirs, their_hidden) = outputs(taught.student), outputs(taught.teacher)
    if "logits" not in found or "mask" not in rows:
        raise UserError(
            f"distill.teacher: models of {task.name} give {', '.join(found)}, and only logits of "
            "labelled positions can be learnt from"
        )
    for what, names in (("this model", found), ("the teacher", theirs)):
        if others := sorted(set(names) - {"logits"}):
            raise UserError(
                f"distill.teacher: {what} gives {', '.join(others)} beside logits, so these alone "
                "are not its probabilities (a CRF's are of whole texts); expected logits "
                "alone, as of model.head='linear'"
            )
    logits, mask = found["logits"].shape, rows["mask"].shape
    if theirs["logits"].shape != logits:
        raise UserError(
            f"distill.teacher: gives logits {theirs['logits'].shape}, and this model {logits}"
        )
    several = [k for k, x in rows.items() if x.shape == logits and k != "mask"]
    if mask != logits[:-1] or several:
        raise UserError(
            f"distill.teacher: expected one label of {logits[-1]} for each of {logits[:-1]} "
            f"positions; the mask is {mask}" + (f", {several[0]} {logits}" if several else "")
        )
    if taught.settings.hidden:
        _check_hidden(hidden, their_hidden)


def _check_hidden(hidden: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    if not hidden or not theirs:
        raise UserError("distill.hidden: the model has no dense layer called head")
    widths = hidden[HIDDEN].shape[-1], theirs[HIDDEN].shape[-1]
    if widths[0] != widths[1]:
        raise UserError(
            f"distill.hidden: heads are given {widths[0]} features here and {widths[1]} in the "
            "teacher; expected the same width, or distill.hidden=0"
        )


def _frozen(model: Model, teacher: str, *, run: str) -> Any:
    params, model_state, _ = given.read_whole(teacher, run=run)
    as_float = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float32), dict(tree))  # noqa: E731
    rest = {} if model.frozen is None else dict(model.frozen())
    return {**rest, TEACHER: {"params": as_float(params), **as_float(model_state)}}


def _apply(
    taught: _Taught, variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> tuple[Outputs, Any]:
    """In training the teacher's logits, and what both heads were given, are among the outputs; the
    teacher computes as in evaluation."""
    frozen = dict(variables.get("frozen", {}))
    teacher = frozen.pop(TEACHER, None)
    own = {name: tree for name, tree in variables.items() if name != "frozen"}
    own |= {"frozen": frozen} if frozen else {}
    if key is None:
        return taught.student.apply(own, batch, None)
    outputs, state, hidden = _with_hidden(taught.student, own, batch, key)
    theirs, _, their_hidden = _with_hidden(taught.teacher, teacher, batch, None)
    told = {TEACHER: jax.lax.stop_gradient(theirs["logits"])}
    if taught.settings.hidden:
        told |= {"hidden": hidden[HIDDEN], "teacher_hidden": their_hidden[HIDDEN]}
    return {**outputs, **told}, state


def _with_hidden(
    model: Model, variables: Any, batch: Mapping[str, Any], key: jax.Array | None
) -> tuple[Outputs, Any, dict[str, jax.Array]]:
    """What `apply` gives, and what the dense layer called head is given (B, ..., D)."""
    hidden: dict[str, jax.Array] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, ops.Dense) and module.scope.path[-1:] == ("head",):
            hidden[HIDDEN] = args[0]
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        outputs, state = model.apply(variables, batch, key)
    return outputs, state, hidden


def _train_sums(taught: _Taught, outputs: Outputs, batch: Mapping[str, jax.Array]) -> Sums:
    """The mixture, divided as the loss of the labels is; and each part of it."""
    settings = taught.settings
    theirs = outputs[TEACHER] / settings.temperature
    sums = taught.student.train_sums(outputs, batch)
    labels = sums["loss"]
    ours = jax.nn.log_softmax(outputs["logits"] / settings.temperature)
    divergence = jnp.sum(jax.nn.softmax(theirs) * (jax.nn.log_softmax(theirs) - ours), axis=-1)
    # Times the temperature's square, so that the gradient does not depend on it (their section 2).
    # A position may count for less than one, such as one of the windows of a long text.
    weight = settings.temperature**2 * batch.get("weight", 1.0)
    soft = Mean.of(weight * divergence, batch["mask"])._replace(count=labels.count)
    total = (1 - settings.weight) * labels.total + settings.weight * soft.total
    more = {"labels_loss": labels, "teacher_loss": soft}
    if settings.hidden:
        apart = jnp.square(outputs["hidden"] - jax.lax.stop_gradient(outputs["teacher_hidden"]))
        more["hidden_loss"] = Mean.of(apart.mean(-1), batch["mask"])
        total += settings.hidden * more["hidden_loss"].total
    return {**sums, "loss": labels._replace(total=total), **more}
