"""Owns federated averaging (McMahan et al. 2017), simulated on one machine: an update is a round.

Examples are divided among clients. In a round some clients, drawn by chance, each start from the
parameters there are and make a few updates of their own data by plain gradient descent; where they
come to, by the weight of how many examples each has, is what the round moves to. That way from the
parameters is the gradient that the optimizer gets: with `sgd` and a learning rate of 1 it is
federated averaging, with another one adaptive federated optimization (Reddi et al. 2021).

Suffixes: K clients of a round.
"""

import dataclasses
import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config.fields import AtLeast
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.shuffling import random_order
from bigjax.methods import examples
from bigjax.methods.gradient import Gradient, Gradients, Objective
from bigjax.tasks.task import Task

_DIVISION, _ROUND = 0xC1, 0xF0  # random streams of their own, beside the order of data
WEIGHT = "client_weight"  # of a batch: examples that the client of each row has, float32 (B,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Federated:
    """Averaging over clients, simulated: an update is a round; see [federated.md](federated.md). A
    batch (`batch.rows`, ...) is what a client sees in an update of its own."""

    num_clients: Annotated[
        int | None,
        AtLeast(1),
        "clients that the training examples are divided among, evenly and by chance; None: no "
        "federated training",
    ] = None
    clients_per_round: Annotated[
        int, AtLeast(1), "clients of a round, drawn by chance; at most as many as there are"
    ] = 8
    local_steps: Annotated[int, AtLeast(1), "updates that a client makes in a round"] = 4
    local_learning_rate: Annotated[float, AtLeast(1e-12), "of these"] = 0.1


def as_trained(task: Task, federated: Federated, *, seed: int) -> Task:
    """The task with rounds for batches.

    Raises:
      UserError: what of the task keeps clients apart from each other no more.
    """
    if federated.num_clients is None:
        return task
    examples.refuse_state(task, why="federated averaging averages parameters")
    train = rounds(task.data.train, federated, seed=seed)
    return task._replace(data=task.data._replace(train=train))


def rounds(train: Dataset, federated: Federated, *, seed: int) -> Dataset:
    """Batches that hold a round: of each of its clients, one after the other, the rows of its
    updates; a pure function of (seed, step). A client with fewer rows sees them again, and one
    without has empty rows."""
    num_clients = federated.num_clients
    of_round = min(federated.clients_per_round, num_clients)
    of_client = federated.local_steps * train.batch_rows
    ids = examples.one_a_row(train, epoch=0, why="a client sees its own examples alone")
    stream = np.random.Philox(np.random.SeedSequence((seed, _DIVISION)))
    division = stream.random_raw(int(ids.max()) + 1) % np.uint64(num_clients)

    @functools.lru_cache(maxsize=8)
    def held(step: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of rows of `train`, in its epoch `step`, -1 for none; each client's examples."""
        ids = examples.one_a_row(train, epoch=step, why="")
        stream = np.random.Philox(np.random.SeedSequence((seed, step, _ROUND)))
        rows, weights = [], []
        for client in random_order(stream, num=num_clients)[:of_round]:
            own = np.flatnonzero(division[ids] == client)
            weights.append(len(np.unique(ids[own])))
            numbers = step * train.num_rows + own if len(own) else np.array([-1])
            rows.append(np.resize(numbers, of_client))
        return np.concatenate(rows), np.repeat(np.array(weights, np.float32), of_client)

    made = examples.by_step(train, lambda step: held(step)[0], batch_rows=of_round * of_client)

    def rows(numbers: np.ndarray) -> Batch:
        steps, places = np.divmod(numbers, made.batch_rows)
        weights = [held(step)[1][place] for step, place in zip(steps.tolist(), places)]
        return made.rows(numbers) | {WEIGHT: np.array(weights, np.float32)}

    return made._replace(rows=rows)


def gradients(inner: Gradients, federated: Federated, task: Task) -> Gradients:
    """The way from the parameters to the average of where the clients of a round come to.

    Args:
      inner: how a client's gradient comes about.
      task: of `as_trained`.
    """
    if federated.num_clients is None:
        return inner
    of_round = min(federated.clients_per_round, federated.num_clients)
    num_rows = task.data.train.batch_rows
    shape = (of_round, federated.local_steps, num_rows // of_round // federated.local_steps)
    told = (
        f"an update is a round of {of_round} of {federated.num_clients} clients, each with "
        f"{federated.local_steps} updates of {shape[-1]} rows of its own"
    )
    of = functools.partial(_round, inner, shape=shape, learning_rate=federated.local_learning_rate)
    return Gradients(
        of,
        mean=lambda grads, key: grads,  # noqa: ARG005
        whole=True,
        notes=(*inner.notes, f"federated averaging: {told}"),
        facts=(*inner.facts, ("federated averaging", told)),
    )


def _round(
    inner: Gradients,
    objective: Objective,
    key: jax.Array,
    *,
    shape: tuple[int, int, int],
    learning_rate: float,
) -> Gradient:
    local = inner.of(objective, key)
    num_rows = shape[0] * shape[1] * shape[2]

    def gradient(params: Any, model_state: Any, rows: Any) -> Any:
        def update(own: Any, rows: Any) -> tuple[Any, Any]:
            grads, (sums, _) = local(own, model_state, rows)
            return jax.tree.map(lambda p, g: p - learning_rate * g, own, grads), sums

        def visit(carry: Any, rows: Any) -> tuple[Any, None]:
            way, weights, total = carry
            own, sums = jax.lax.scan(update, params, rows)
            weight = rows[WEIGHT][0, 0]
            way = jax.tree.map(lambda t, p, o: t + weight * (p - o), way, params, own)
            total = jax.tree.map(lambda t, s: t + s.sum(0), total, sums)
            return (way, weights + weight, total), None

        # Past them are the empty rows that a mesh asks for.
        rows_K = jax.tree.map(lambda x: x[:num_rows].reshape(*shape, *x.shape[1:]), dict(rows))
        first = jax.tree.map(lambda x: x[0, 0], rows_K)
        aux = jax.eval_shape(objective, params, model_state, first)[1]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (params, aux[0]))
        carry = (zeros[0], jnp.zeros(()), zeros[1])
        (way, weights, sums), _ = jax.lax.scan(visit, carry, rows_K)
        return [w / jnp.maximum(weights, 1.0) for w in way], (sums, model_state)

    return gradient
