"""Owns the functions to be jitted: how a state begins, and one update.

Everything is masked sums: a microbatch adds its gradient of the summed loss and its weight, and the
total is divided once. So accumulation, empty rows and devices change nothing beyond rounding.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigjax.engine import microbatches, param_dtypes
from bigjax.engine.optim import Optimizer
from bigjax.engine.state import TrainState
from bigjax.methods.gradient import PLAIN, Gradients
from bigjax.scores.metrics import Mean
from bigjax.tasks.task import Model, Task

# Names of the random streams that are folded into the seed.
DROPOUT_STREAM, INIT_STREAM, ROUNDING_STREAM = 1, 2, 3


def stream(seed: int, name: int) -> jax.Array:
    """The key of a named random stream of a run."""
    return jax.random.fold_in(jax.random.key(seed), name)


def init_state(
    model: Model,
    optimizer: Optimizer,
    *,
    seed: int,
    ema_decay: float | None,
    given: Any = None,
) -> TrainState:
    """The state before the first update; traceable.

    Args:
      given: variables that take the place of random ones, a tree like them with None for those
        that stay random; or None.
    """
    variables = dict(nn.meta.unbox(model.init(stream(seed, INIT_STREAM))))
    if given is not None:
        pick = lambda random, found: random if found is None else found.astype(random.dtype)  # noqa: E731
        variables = jax.tree.map(pick, variables, dict(given), is_leaf=lambda leaf: leaf is None)
    params = variables.pop("params")
    opt_state = optimizer.tx.init(params)
    if optimizer.dtypes is not None:
        params = param_dtypes.narrow(params, dtypes=optimizer.dtypes)
    # A copy: donated buffers must not be shared between two leaves of the state.
    ema = None if ema_decay is None else jax.tree.map(jnp.copy, param_dtypes.widen(params))
    return TrainState(jnp.zeros((), jnp.int32), params, variables, opt_state, ema)


def make_train_step(
    task: Task,
    optimizer: Optimizer,
    *,
    seed: int,
    num_microbatches: int,
    ema_decay: float | None,
    method: Gradients = PLAIN,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """One update: (state, frozen, batch) -> (state, scalars), to be jitted with the state donated.

    Scalars: the means of the training sums, `grad_norm` (of what is trained), `learning_rate`,
    `num_*` (the task's counts) and `is_finite`, bool (1 + number of leaves,): of the loss, then of
    each leaf's gradient.
    """
    root, rounding = stream(seed, DROPOUT_STREAM), stream(seed, ROUNDING_STREAM)

    def train_step(
        state: TrainState, frozen: Any, batch: Mapping[str, jax.Array]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        if optimizer.dtypes is not None:
            state = state._replace(params=param_dtypes.widen(state.params))
        gradients = functools.partial(
            mean_gradients,
            task.model,
            batch=batch,
            key=jax.random.fold_in(root, state.step),
            num_microbatches=num_microbatches,
            is_trained=optimizer.is_trained,
            frozen=frozen,
            method=method,
        )
        grads, sums, model_state = gradients(state)
        more = {}
        if optimizer.by_value:
            value_fn = _value_fn(lambda params: gradients(state._replace(params=params)))
            more = {"value": sums["loss"].compute(), "grad": grads, "value_fn": value_fn}
        updates, opt_state = optimizer.tx.update(grads, state.opt_state, state.params, **more)
        learning_rate = optimizer.schedule(state.step)
        params = jax.tree.map(lambda p, u: p - learning_rate * u, state.params, updates)
        ema = state.ema
        if ema is not None:
            ema = _averaged(ema, params, decay=ema_decay, is_trained=optimizer.is_trained)
        if optimizer.project is not None:
            params, ema = (optimizer.project(x, opt_state) for x in (params, ema))
        if optimizer.dtypes is not None:
            key = jax.random.fold_in(rounding, state.step)
            params = param_dtypes.at_random(params, dtypes=optimizer.dtypes, key=key)
        scalars = {name: mean.compute() for name, mean in sums.items()}
        squares = [jnp.sum(jnp.square(g), dtype=jnp.float32) for g in jax.tree.leaves(grads)]
        scalars |= {
            "grad_norm": jnp.sqrt(sum(squares)),
            "learning_rate": learning_rate,
            # The total, as the mean of a batch in which nothing counts is nan.
            "is_finite": jnp.isfinite(jnp.stack([sums["loss"].total, *squares])),
        }
        scalars |= {f"num_{name}": number for name, number in task.data.counts(batch).items()}
        return TrainState(state.step + 1, params, model_state, opt_state, ema), scalars

    return train_step


def _value_fn(gradients: Callable[[Any], Any]) -> Callable[[Any], jax.Array]:
    """params -> the mean loss of the batch, whose derivative is what `gradients` gives."""

    def forward(params: Any) -> tuple[jax.Array, Any]:
        grads, sums, _ = gradients(params)
        return sums["loss"].compute(), grads

    value_fn = jax.custom_vjp(lambda params: forward(params)[0])
    value_fn.defvjp(forward, lambda grads, ct: (jax.tree.map(lambda g: g * ct, grads),))
    return value_fn


def _averaged(ema: Any, params: Any, *, decay: float, is_trained: Any) -> Any:
    """What is not trained stays as it is: averaged with itself it would drift by rounding."""
    average = lambda e, p: decay * e + (1 - decay) * p  # noqa: E731
    if is_trained is None:
        return jax.tree.map(average, ema, params)
    return jax.tree.map(lambda e, p, own: average(e, p) if own else e, ema, params, is_trained)


def several(train_step: Callable[..., Any], *, most: int) -> Callable[..., Any]:
    """Up to `most` updates in one call: (state, frozen, (batches, num)) -> (state, scalars), arrays
    (most, ...), those of scalars zero past `num`.

    A loop of as many turns as `num` says, and not a scan: one compiled body serves every number of
    updates, so how a run is cut into calls changes no bit of it.
    """

    def updates(
        state: TrainState, frozen: Any, given: tuple[Any, jax.Array]
    ) -> tuple[TrainState, Any]:
        batches, num = given

        def update(i: jax.Array, carry: tuple[TrainState, Any]) -> tuple[TrainState, Any]:
            state, scalars = carry
            state, found = train_step(state, frozen, jax.tree.map(lambda x: x[i], batches))
            return state, jax.tree.map(lambda to, one: to.at[i].set(one), scalars, found)

        first = jax.tree.map(lambda x: x[0], batches)
        _, shapes = jax.eval_shape(train_step, state, frozen, first)
        zeros = jax.tree.map(lambda s: jnp.zeros((most, *s.shape), s.dtype), shapes)
        return jax.lax.fori_loop(0, num, update, (state, zeros))

    return updates


def mean_gradients(
    model: Model,
    state: TrainState,
    batch: Mapping[str, jax.Array],
    *,
    key: jax.Array,
    num_microbatches: int,
    is_trained: Any = None,
    frozen: Any = None,
    method: Gradients = PLAIN,
) -> tuple[Any, dict[str, Mean], Any]:
    """The gradient of the mean loss over all microbatches, the sums, and the new model_state.

    Args:
      is_trained: tree of bool like params; those that are not get zeros, which cost nothing. None:
        all are.
      frozen: what the model reads besides, see `Model.frozen`.
      method: how the gradient of each part is taken.
    """
    leaves, treedef = jax.tree.flatten(state.params)
    trained = [True] * len(leaves) if is_trained is None else jax.tree.leaves(is_trained)

    def objective(params: list[Any], model_state: Any, rows: Any) -> tuple[jax.Array, Any]:
        given = iter(params)
        whole = [next(given) if own else leaf for leaf, own in zip(leaves, trained)]
        variables = {"params": jax.tree.unflatten(treedef, whole), **model_state}
        if frozen:
            variables["frozen"] = frozen
        outputs, model_state = model.apply(variables, rows, key)
        sums = model.train_sums(outputs, rows)
        return sums["loss"].total, (sums, model_state)

    def mean_objective(params: list[Any], model_state: Any, rows: Any) -> tuple[jax.Array, Any]:
        total, (sums, model_state) = objective(params, model_state, rows)
        return total / _weight(sums), (sums, model_state)

    params = [leaf for leaf, own in zip(leaves, trained) if own]
    num_chunks = 1
    if not method.whole:
        num_chunks = _num_chunks(model, state, batch, num_microbatches=num_microbatches)
    whole = num_chunks == num_microbatches == 1  # dividing the loss spares a pass over gradients
    gradient = method.of(mean_objective if whole or method.mean else objective, key)
    for num_parts in (num_chunks, num_microbatches):
        if num_parts > 1:
            gradient = microbatches.in_parts(gradient, num_parts=num_parts)
    grads, (sums, model_state) = gradient(params, state.model_state, batch)
    if method.mean is not None:
        grads = method.mean(grads, key)
    elif num_microbatches > 1:
        grads = [g / _weight(sums) for g in grads]
    elif num_chunks > 1:
        grads = [g * (1 / _weight(sums)) for g in grads]
    found = iter(grads)
    grads = [next(found) if own else jnp.zeros_like(leaf) for leaf, own in zip(leaves, trained)]
    return jax.tree.unflatten(treedef, grads), sums, model_state


def _num_chunks(
    model: Model, state: TrainState, batch: Mapping[str, jax.Array], *, num_microbatches: int
) -> int:
    """In how many parts a CPU computes a microbatch; batch statistics are of the whole of it."""
    if model.chunk_rows is None or jax.default_backend() != "cpu" or state.model_state:
        return 1
    num_rows = len(jax.tree.leaves(dict(batch))[0]) // num_microbatches
    return microbatches.num_chunks(num_rows, rows=model.chunk_rows * jax.device_count())


def _weight(sums: Mapping[str, Mean]) -> jax.Array:
    """What the summed loss is divided by: a count, or a sum of weights; 1 where there is none."""
    count = sums["loss"].count
    return jnp.where(count > 0, count, jnp.ones_like(count))
