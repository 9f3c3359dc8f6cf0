"""Owns the way from a config to everything a run needs: task, mesh, optimizer, shapes, shardings
and jitted functions. Shapes come first: nothing is built before its sharding is known."""

import functools
import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from bigjax.config.sections import Optimization
from bigjax.config.values import Config
from bigjax.data.dataset import Dataset
from bigjax.engine import cost, optim, param_dtypes, schedules, sharding, step
from bigjax.engine.cost import count_flops
from bigjax.engine.optim import Optimizer
from bigjax.engine.sharding import abstract
from bigjax.engine.state import TrainState
from bigjax.errors import UserError, nearest
from bigjax.tasks import TASKS
from bigjax.tasks.task import Task


class Setup(NamedTuple):
    """state: shapes of the train state, with their shardings.
    total_steps: updates of the whole run.
    num_rows: rows of a training batch as it lies on the mesh, empty ones included.
    num_microbatches: in how many parts an update is computed.
    flops: floating-point operations of one update.
    train_step: compiled (state, what `put` makes) -> (state, scalars); the state is donated.
    eval_step: jitted (variables, batch) -> (sums, outputs).
    """

    config: Config
    task: Task
    mesh: Mesh
    optimizer: Optimizer
    state: TrainState
    total_steps: int
    num_rows: int
    num_microbatches: int
    flops: int
    train_step: Any
    eval_step: Callable[..., Any]

    def put(self, steps: range) -> Any:
        """What `train_step` takes for `steps`, on the mesh: a batch, or where several updates are
        dispatched at once, as many batches as these are at most, and how many there are."""
        place = {"mesh": self.mesh, "num_rows": self.num_rows}
        most = self.config[""]["steps_per_dispatch"]
        if most == 1:
            return sharding.put_batch(self.task.train, step=steps.start, **place)
        return sharding.put_batches(self.task.train, steps=steps, most=most, **place)


def build(config: Config) -> Setup:
    """Reads the data, derives shapes and shardings, and compiles the train step.

    Raises:
      UserError: a config, data or devices that do not fit each other.
    """
    _use_compilation_cache()
    run = config[""]
    mesh = sharding.make_mesh(run["mesh"])
    task = TASKS[run["task"]].make(config)
    metric = config["eval"]["metric"]
    if metric is not None and metric not in task.score_names:
        raise UserError(
            f"config.eval.metric={metric!r} is not a score of this task and data; "
            f"{nearest(metric, task.score_names)}"
        )
    length = duration(config, "num", section="", task=task)
    if length is None:
        raise UserError("set the length of training: num_steps, num_epochs or num_examples")
    total_steps = max(1, round(length))
    warmup = duration(config, "warmup", section="schedule", task=task, total_steps=total_steps)
    name = config["schedule"]["name"]
    schedule = schedules.make_schedule(
        name,
        learning_rate=config["optim"]["learning_rate"],
        total_steps=total_steps,
        warmup_steps=round(warmup or 0),
        **config.pick("schedule", schedules.SCHEDULES[name]),
    )
    params = jax.eval_shape(task.init, jax.random.key(0))["params"]
    optimizer = optim.make_optimizer(
        params,
        settings=config.of(Optimization),
        direction=config.of(optim.OPTIMIZER),
        schedule=schedule,
        depths=task.layer_depths(params),
    )
    state = _abstract_state(config, task=task, optimizer=optimizer, mesh=mesh)
    compile_step = functools.partial(_compile, config, task, optimizer, state, mesh=mesh)
    if config["batch"]["accumulate"] == "auto":
        made = _fitting(config, compile_step, batch_rows=task.train.batch_rows)
    else:
        made = compile_step(config["batch"]["accumulate"])
    return Setup(
        config=config,
        task=task,
        mesh=mesh,
        optimizer=optimizer,
        state=state,
        total_steps=total_steps,
        num_rows=made.num_rows,
        num_microbatches=made.num_microbatches,
        flops=made.flops,
        train_step=made.compiled,
        eval_step=jax.jit(
            sharding.on_mesh(_in_float32(task.predict), mesh),
            out_shardings=sharding.replicated(mesh),
        ),
    )


def _in_float32(predict: Callable[..., Any]) -> Callable[..., Any]:
    """`predict`, computed as training computes: from float32, whatever parameters are stored in."""

    def computed(variables: Mapping[str, Any], batch: Any) -> Any:
        params = param_dtypes.widen(variables["params"])
        return predict({**variables, "params": params}, batch)

    return computed


def duration(
    config: Config, what: str, *, section: str, task: Task, total_steps: int | None = None
) -> float | None:
    """The duration `what` of a section ("warmup": warmup_steps, warmup_epochs, ...) in steps, not
    rounded; None where no unit of it is set."""
    units = ("steps", "epochs", "examples", "fraction")
    given = {unit: config[section].get(f"{what}_{unit}") for unit in units}
    return schedules.in_steps(
        f"{section}.{what}" if section else what,
        **given,
        steps_per_epoch=task.train.steps_per_epoch,
        examples_per_epoch=task.train.num_examples,
        total_steps=total_steps,
    )


def init_function(config: Config, task: Task, optimizer: Optimizer) -> Callable[..., TrainState]:
    """Makes the state before the first update; see `step.init_state`."""
    run = config[""]
    return functools.partial(
        step.init_state, task, optimizer, seed=run["seed"], ema_decay=run["ema_decay"]
    )


def num_params(state: TrainState) -> int:
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(state.params))


def _abstract_state(config: Config, *, task: Task, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    shapes = jax.eval_shape(init_function(config, task, optimizer))
    params = sharding.param_shardings(shapes.params, mesh=mesh, rules=task.sharding_rules)
    everywhere = sharding.replicated(mesh)
    shardings = TrainState(
        step=everywhere,
        params=params,
        model_state=jax.tree.map(lambda _: everywhere, shapes.model_state),
        opt_state=sharding.opt_state_shardings(
            optimizer.tx, shapes.opt_state, params=shapes.params, shardings=params, mesh=mesh
        ),
        ema=None if shapes.ema is None else params,
    )
    return abstract(shapes, shardings)


class _Step(NamedTuple):
    compiled: Any
    flops: int
    num_rows: int
    num_microbatches: int


def _fitting(config: Config, compile_step: Callable[[int], _Step], *, batch_rows: int) -> _Step:
    """The update in as few parts as fit into a device; UserError where none do."""
    limit = cost.device_memory(config["batch"]["device_memory_gib"])
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
    state: TrainState,
    num_microbatches: int,
    *,
    mesh: Mesh,
) -> _Step:
    function = step.make_train_step(
        task,
        optimizer,
        seed=config[""]["seed"],
        num_microbatches=num_microbatches,
        ema_decay=config[""]["ema_decay"],
    )
    num_rows = sharding.padded_rows(task.train, mesh=mesh, num_microbatches=num_microbatches)
    batch = _batch_shapes(task.train, mesh=mesh, num_rows=num_rows)
    most = config[""]["steps_per_dispatch"]
    if most > 1:
        function, batch = step.several(function, most=most), _several_shapes(batch, mesh, most)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    jitted = jax.jit(
        sharding.on_mesh(function, mesh),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )
    traced = jitted.trace(state, batch)
    flops = count_flops(traced.jaxpr)
    return _Step(traced.lower().compile(), flops, num_rows, num_microbatches)


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


def _use_compilation_cache() -> None:
    """Keeps compiled programs between runs, for each kind of CPU apart: they are machine code."""
    if jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        flags = ""
    machine = hashlib.sha256((platform.machine() + flags).encode()).hexdigest()[:12]
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))
    jax.config.update(
        "jax_compilation_cache_dir", os.path.join(cache, "bigjax", "compiled", machine)
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
