"""Owns the way from a config to everything a run needs: task, mesh, optimizer, shapes, shardings
and compiled functions. Shapes come first: nothing is built before its sharding is known."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from bigjax import methods
from bigjax.config.choices import dotted
from bigjax.config.sections import Batch, Evaluation, Optimization, Run
from bigjax.config.values import Config
from bigjax.data.dataset import Dataset
from bigjax.engine import cost, optim, schedules, sharding, step
from bigjax.engine.compilation import use_cache
from bigjax.engine.cost import count_flops
from bigjax.engine.optim import Optimizer
from bigjax.engine.scorer import Scorer, best_score, make_eval_step, put_frozen
from bigjax.engine.sharding import abstract
from bigjax.engine.state import TrainState
from bigjax.errors import UserError
from bigjax.methods.gradient import PLAIN, Gradients
from bigjax.tasks import TASKS
from bigjax.tasks.task import Task


class Setup(NamedTuple):
    """What training needs.

    state: shapes of the train state, with their shardings.
    frozen: what the model reads and nothing trains, on the mesh; {} where there is nothing.
    total_steps: updates of the whole run.
    notes: lines for the start of training, on how its gradient comes about.
    num_rows: rows of a training batch as it lies on the mesh, empty ones included.
    num_microbatches: in how many parts an update is computed.
    flops: floating-point operations of one update.
    compiled: the update, (state, frozen, what `put` makes) -> (state, scalars); the state is
      donated.
    """

    config: Config
    task: Task
    mesh: Mesh
    optimizer: Optimizer
    state: TrainState
    frozen: Any
    total_steps: int
    notes: tuple[str, ...]
    num_rows: int
    num_microbatches: int
    flops: int
    compiled: Any

    def put(self, steps: range) -> Any:
        """What `train_step` takes for `steps`, on the mesh: a batch, or where several updates are
        dispatched at once, as many batches as these are at most, and how many there are."""
        place = {"mesh": self.mesh, "num_rows": self.num_rows}
        most = self.config.of(Run).steps_per_dispatch
        if most == 1:
            return sharding.put_batch(self.task.data.train, step=steps.start, **place)
        return sharding.put_batches(self.task.data.train, steps=steps, most=most, **place)

    def train_step(self, state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        return self.compiled(state, self.frozen, batch)

    def scorer(self) -> Scorer:
        """What scores a state of this training."""
        eval_step = make_eval_step(self.task, mesh=self.mesh)
        return Scorer(self.task, self.mesh, self.state.averaged(), self.frozen, eval_step)


def build(config: Config) -> Setup:
    """Reads the data, derives shapes and shardings, and compiles the train step.

    Raises:
      UserError: a config, data or devices that do not fit each other.
    """
    use_cache()
    run = config.of(Run)
    mesh = sharding.make_mesh(run.mesh)
    task = methods.as_trained(TASKS[run.task].make(config), config)
    best_score(config, task)  # that there is one
    _check_dev(config, task)
    length = duration(config, "num", section="", task=task)
    if length is None:
        raise UserError("set the length of training: num_steps, num_epochs or num_examples")
    total_steps = max(1, round(length))
    method = methods.gradients(task, config, num_updates=total_steps)
    task = _with_facts(task, method.facts)
    warmup = duration(config, "warmup", section="schedule", task=task, total_steps=total_steps)
    schedule = schedules.make_schedule(
        lambda num_steps: config.of(schedules.SCHEDULE, num_steps=num_steps),
        learning_rate=config.of(Optimization).learning_rate,
        total_steps=total_steps,
        warmup_steps=round(warmup or 0),
    )
    shapes, specs = sharding.shapes_and_specs(task.model.init)
    params = shapes["params"]
    optimizer = optim.make_optimizer(
        params,
        settings=config.of(Optimization),
        direction=config.of(optim.OPTIMIZER),
        schedule=schedule,
        depths=task.model.layer_depths(params),
    )
    tx, project = methods.pruned(optimizer.tx, params, config, total_steps=total_steps)
    optimizer = optimizer._replace(tx=tx, project=project)
    _check_by_value(optimizer, task, method=method)
    _check_parts(config, method)
    state = _abstract_state(config, task=task, optimizer=optimizer, mesh=mesh, specs=specs)
    frozen = put_frozen(task.model, mesh=mesh)
    parts = (config, task, optimizer, method, state, frozen)
    compile_step = functools.partial(_compile, *parts, mesh=mesh)
    if config.of(Batch).accumulate == "auto":
        made = _fitting(config, compile_step, batch_rows=task.data.train.batch_rows)
    else:
        made = compile_step(config.of(Batch).accumulate)
    return Setup(
        config=config,
        task=task,
        mesh=mesh,
        optimizer=optimizer,
        state=state,
        frozen=frozen,
        total_steps=total_steps,
        notes=method.notes,
        **made._asdict(),
    )


def _check_parts(config: Config, method: Gradients) -> None:
    """Raises UserError for a batch in parts where its gradient is of all of it."""
    accumulate = config.of(Batch).accumulate
    if method.whole and accumulate != 1:
        raise UserError(
            f"batch.accumulate={accumulate}: a round is computed as a whole, client by client; "
            "leave it out"
        )


def _with_facts(task: Task, facts: tuple[tuple[str, str], ...]) -> Task:
    report = task.data.report
    return task._replace(data=task.data._replace(report=lambda: [*report(), *facts]))


def _check_dev(config: Config, task: Task) -> None:
    """Raises UserError for what would go by dev where there is none."""
    for key in ("patience", "target"):
        value = getattr(config.of(Evaluation), key)
        if value is not None and "dev" not in task.data.evals:
            raise UserError(
                f"config.eval.{key}={value}: there is no dev split to go by; give one, or leave "
                f"eval.{key} out"
            )


def _check_by_value(optimizer: Optimizer, task: Task, *, method: Gradients) -> None:
    """Raises UserError for an optimizer that goes by the loss, of a part of the data, or of a
    gradient that is not that loss's."""
    train = task.data.train
    if not optimizer.by_value:
        return
    if train.batch_rows < train.num_rows:
        raise UserError(
            f"config.optim.name: this one goes by the loss of all rows, and a batch has "
            f"{train.batch_rows:,} of {train.num_rows:,}: set batch.rows={train.num_rows}"
        )
    if method != PLAIN:
        raise UserError(
            "config.optim.name: this one goes by the loss, and adversarial, private and "
            "federated training have gradients of their own; choose another"
        )
    if optimizer.project is not None:
        raise UserError(
            "config.optim.name: this one searches along a direction, and pruning leaves it: set "
            "prune.sparsity=0"
        )


def duration(
    config: Config, what: str, *, section: str, task: Task, total_steps: int | None = None
) -> float | None:
    """The duration `what` of a section ("warmup": warmup_steps, warmup_epochs, ...) in steps, not
    rounded; None where no unit of it is set."""
    units = ("steps", "epochs", "examples", "fraction")
    settings = config.flat()
    given = {unit: settings.get(dotted(section, f"{what}_{unit}")) for unit in units}
    return schedules.in_steps(
        f"{section}.{what}" if section else what,
        **given,
        steps_per_epoch=task.data.train.steps_per_epoch,
        examples_per_epoch=task.data.train.num_examples,
        total_steps=total_steps,
    )


def init_function(config: Config, task: Task, optimizer: Optimizer) -> Callable[..., TrainState]:
    """Makes the state before the first update; see `step.init_state`."""
    run = config.of(Run)
    return functools.partial(
        step.init_state, task.model, optimizer, seed=run.seed, ema_decay=run.ema_decay
    )


def num_params(state: TrainState) -> int:
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(state.params))


def _abstract_state(
    config: Config, *, task: Task, optimizer: Optimizer, mesh: Mesh, specs: Any
) -> TrainState:
    shapes = jax.eval_shape(init_function(config, task, optimizer))
    params = sharding.param_shardings(shapes.params, mesh=mesh, specs=specs["params"])
    everywhere = sharding.replicated(mesh)
    shardings = TrainState(
        step=everywhere,
        params=params,
        model_state=jax.tree.map(lambda _: everywhere, shapes.model_state),
        opt_state=sharding.opt_state_shardings(
            shapes.opt_state, params=shapes.params, shardings=params, mesh=mesh
        ),
        ema=None if shapes.ema is None else params,
    )
    return abstract(shapes, shardings)


class _Update(NamedTuple):
    """As `Setup` has them."""

    compiled: Any
    flops: int
    num_rows: int
    num_microbatches: int


def _fitting(config: Config, compile_step: Callable[[int], _Update], *, batch_rows: int) -> _Update:
    """The update in as few parts as fit into a device; UserError where none do."""
    limit = cost.device_memory(config.of(Batch).device_memory_gib)
    made = compile_step(1)
    while not cost.fits(made.compiled, limit=limit):
        if made.num_microbatches >= batch_rows:
            raise UserError(
                f"batch.accumulate=auto: an update takes {cost.peak_memory(made.compiled):,} bytes "
                f"of a device's {limit:,} even one row at a time; split the model over more "
                "devices with mesh=fsdp=N, use model.remat, or make rows shorter"
            )
        made = compile_step(2 * made.num_microbatches)
    return made


def _compile(
    config: Config,
    task: Task,
    optimizer: Optimizer,
    method: Gradients,
    state: TrainState,
    frozen: Any,
    num_microbatches: int,
    *,
    mesh: Mesh,
) -> _Update:
    function = step.make_train_step(
        task,
        optimizer,
        seed=config.of(Run).seed,
        num_microbatches=num_microbatches,
        ema_decay=config.of(Run).ema_decay,
        method=method,
    )
    num_rows = sharding.padded_rows(task.data.train, mesh=mesh, num_microbatches=num_microbatches)
    batch = _batch_shapes(task.data.train, mesh=mesh, num_rows=num_rows)
    most = config.of(Run).steps_per_dispatch
    if most > 1:
        function, batch = step.several(function, most=most), _several_shapes(batch, mesh, most)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    jitted = jax.jit(
        sharding.on_mesh(function, mesh),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )
    traced = jitted.trace(state, frozen, batch)
    flops = count_flops(cost.needed(traced.jaxpr))
    return _Update(traced.lower().compile(), flops, num_rows, num_microbatches)


def _batch_shapes(dataset: Dataset, *, mesh: Mesh, num_rows: int) -> Any:
    one = dataset.rows(np.zeros(1, np.int64)) | {"row": np.zeros(1, np.int32)}
    rows = sharding.batch_sharding(mesh)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((num_rows, *x.shape[1:]), x.dtype, sharding=rows), one
    )


def _several_shapes(batch: Any, mesh: Mesh, most: int) -> tuple[Any, jax.ShapeDtypeStruct]:
    rows = sharding.batches_sharding(mesh)
    batches = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((most, *x.shape), x.dtype, sharding=rows), batch
    )
    return batches, jax.ShapeDtypeStruct((), np.int32, sharding=sharding.replicated(mesh))
