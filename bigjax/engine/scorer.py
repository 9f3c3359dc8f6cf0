"""Owns what scoring a split needs, of a training in progress or of a finished run."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, PartitionSpec

from bigjax import methods
from bigjax.config.sections import Evaluation, Run
from bigjax.config.values import Config
from bigjax.engine import param_dtypes, sharding
from bigjax.engine.compilation import use_cache
from bigjax.errors import UserError, nearest
from bigjax.tasks import TASKS
from bigjax.tasks.task import Model, Score, Task


class Saved(NamedTuple):
    """What a run's checkpoints hold, where that is not what is used of it.

    variables: their shapes, with shardings. frozen: () -> what they were trained beside, on the
      mesh. used: (variables, frozen) -> `Scorer.variables`.
    """

    variables: Any
    frozen: Callable[[], Any]
    used: Callable[[Any, Any], Any]


class Scorer(NamedTuple):
    """What scoring a split needs.

    variables: shapes of what is scored, {"params": ..., and the other collections}, with their
      shardings.
    eval_step: jitted (variables, frozen, batch) -> (sums, outputs), both on every device.
    saved: None where checkpoints hold `variables`.
    prepare: these -> what `eval_step` is given of them.
    """

    task: Task
    mesh: Mesh
    variables: Any
    frozen: Any
    eval_step: Callable[..., Any]
    saved: Saved | None = None
    prepare: Callable[[Any], Any] = lambda variables: variables  # noqa: E731


def build_scorer(config: Config, *, folder: str, splits: Sequence[str]) -> Scorer:
    """What scoring the finished run in `folder` needs: compiles no update, and reads nothing but
    the run's files and the data of `splits`, those of them that there are.

    Raises:
      UserError: files, data or devices that do not fit each other.
    """
    use_cache()
    mesh = sharding.make_mesh(config.of(Run).mesh)
    task = TASKS[config.of(Run).task].load(config, folder, splits=splits)
    task, prepare = methods.as_used(task, config)
    variables = _abstract_variables(task.model, mesh=mesh)
    eval_step = make_eval_step(task, mesh=mesh)
    frozen, saved = put_frozen(task.model, mesh=mesh), None
    if found := methods.as_saved(task.model, config, folder=folder):
        shardings = jax.tree.map(lambda x: x.sharding, variables)
        saved = Saved(
            _abstract_variables(found.model, mesh=mesh),
            functools.partial(put_frozen, found.model, mesh=mesh),
            jax.jit(found.used, out_shardings=shardings),
        )
    return Scorer(task, mesh, variables, frozen, eval_step, saved, jax.jit(prepare))


def _abstract_variables(model: Model, *, mesh: Mesh) -> Any:
    shapes, specs = sharding.shapes_and_specs(model.init)
    everywhere = sharding.replicated(mesh)
    shardings = {
        name: sharding.param_shardings(tree, mesh=mesh, specs=specs[name])
        if name == "params"
        else jax.tree.map(lambda _: everywhere, tree)
        for name, tree in shapes.items()
    }
    return sharding.abstract(dict(shapes), shardings)


def make_eval_step(task: Task, *, mesh: Mesh) -> Callable[..., Any]:
    """jitted (variables, frozen, batch) -> (sums, outputs), replicated over the mesh; computed as
    training computes, from float32, whatever parameters are stored in."""

    def eval_step(variables: Mapping[str, Any], frozen: Any, batch: Any) -> Any:
        outputs = _outputs(task, variables, frozen, batch)
        return task.model.eval_sums(outputs, batch), outputs

    return jax.jit(sharding.on_mesh(eval_step, mesh), out_shardings=sharding.replicated(mesh))


def make_apply(task: Task, *, mesh: Mesh) -> Callable[..., Any]:
    """jitted (variables, frozen, batch) -> outputs, of batches without labels; else the same."""

    def apply(variables: Mapping[str, Any], frozen: Any, batch: Any) -> Any:
        return _outputs(task, variables, frozen, batch)

    return jax.jit(sharding.on_mesh(apply, mesh), out_shardings=sharding.replicated(mesh))


def _outputs(task: Task, variables: Mapping[str, Any], frozen: Any, batch: Any) -> Any:
    params = param_dtypes.widen(variables["params"])
    given = {**variables, "params": params} | ({"frozen": frozen} if frozen else {})
    return task.model.apply(given, batch, None)[0]


def put_frozen(model: Model, *, mesh: Mesh) -> Any:
    """What nothing trains, on the mesh: split as fully sharded parameters are; {} where there is
    nothing."""
    if model.frozen is None:
        return {}
    given = dict(model.frozen())
    specs = jax.tree.map(lambda _: PartitionSpec(), given)
    shardings = sharding.param_shardings(given, mesh=mesh, specs=specs)
    return jax.tree.map(jax.device_put, given, shardings)


def best_score(config: Config, task: Task) -> Score:
    """The score of dev that "best" goes by.

    Raises:
      UserError: `eval.metric` is not one of the task's.
    """
    declared = {score.name: score for score in task.scoring.declared}
    name = config.of(Evaluation).metric or task.scoring.headline[0]
    if name not in declared:
        raise UserError(
            f"config.eval.metric={name!r} is not a score of this task and data; "
            f"{nearest(name, declared)}"
        )
    return declared[name]
