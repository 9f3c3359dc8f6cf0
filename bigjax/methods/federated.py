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
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config.fields import AtLeast
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.shuffling import random_order
from bigjax.errors import UserError
from bigjax.methods import examples
from bigjax.methods.gradient import Gradient, Gradients, Objective
from bigjax.tasks.task import Task

_OWN = "a client sees its own examples alone"
_DIVISION, _ROUND = 0xC1, 0xF0  # random streams of their own, beside the order of data
WEIGHT = "client_weight"  # of a batch: examples that the client of each row has, float32 (B,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Federated:
    """Averaging over clients, simulated: an update is a round; see [federated.md](federated.md). A
    batch (`batch.rows`, ...) is what a client sees in an update of its own."""

    num_clients: Annotated[
        int | None,
        AtLeast(1),
        "clients that the training examples are divided among, evenly and by chance",
    ] = None
    client_column: Annotated[
        str | None,
        "column or key of the training file, each of whose values is a client instead; of text "
        "also 'file' and 'document'. Neither of both: no federated training",
    ] = None
    clients_per_round: Annotated[
        int, AtLeast(1), "clients of a round, drawn by chance; at most as many as there are"
    ] = 8
    local_steps: Annotated[int, AtLeast(1), "updates that a client makes in a round"] = 4
    local_learning_rate: Annotated[float, AtLeast(1e-12), "of these"] = 0.1

    @property
    def is_on(self) -> bool:
        return self.num_clients is not None or self.client_column is not None


class Clients(NamedTuple):
    """num: how many there are. told: who they are, for people. division: int64, the client of each
    training example, by its id; None where chance decides."""

    num: int
    told: str = ""
    division: np.ndarray | None = None


def as_trained(task: Task, federated: Federated, *, seed: int) -> Task:
    """The task with rounds for batches.

    Raises:
      UserError: what of the task keeps clients apart from each other no more; no such column.
    """
    if not federated.is_on:
        return task
    examples.refuse_state(task, why="federated averaging averages parameters")
    data = task.data
    if data.column is not None:  # `gradients` asks for it again
        data = data._replace(column=functools.cache(data.column))
    task = task._replace(data=data)
    train = rounds(data.train, federated, clients(task, federated), seed=seed)
    return task._replace(data=data._replace(train=train))


def clients(task: Task, federated: Federated) -> Clients:
    """Who there are, and who has which example of training.

    Raises:
      UserError: both ways to divide them, or a column that is not there.
    """
    column, num_clients = federated.client_column, federated.num_clients
    if column is None:
        return Clients(num_clients)
    if num_clients is not None:
        raise UserError(
            f"federated.num_clients={num_clients} and federated.client_column={column!r}: the "
            "values of the column are the clients; leave one of both out"
        )
    if task.data.column is None:
        raise UserError(
            f"federated.client_column={column!r}: the data of {task.name} have no columns; divide "
            "them by chance, with federated.num_clients"
        )
    try:
        values = task.data.column(column)
    except UserError as error:
        raise UserError(f"federated.client_column={column!r}: {error}") from error
    number = {value: i for i, value in enumerate(sorted(set(values)))}
    division = np.array([number[value] for value in values], np.int64)
    counts = np.bincount(division)
    told = f", the values of {column!r} with {counts.min():,} to {counts.max():,} examples"
    return Clients(len(counts), told, division)


def rounds(train: Dataset, federated: Federated, clients: Clients, *, seed: int) -> Dataset:
    """Batches that hold a round: of each of its clients, one after the other, the rows of its
    updates; a pure function of (seed, step). A client with fewer rows sees them again, and one
    without has empty rows."""
    of_round = min(federated.clients_per_round, clients.num)
    of_client = federated.local_steps * train.batch_rows
    ids = examples.one_a_row(train, epoch=0, why=_OWN)
    division = clients.division
    if division is None:
        stream = np.random.Philox(np.random.SeedSequence((seed, _DIVISION)))
        division = stream.random_raw(int(ids.max()) + 1) % np.uint64(clients.num)

    @functools.lru_cache(maxsize=8)
    def held(step: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of rows of `train`, in its epoch `step`, -1 for none; each client's examples."""
        ids = examples.one_a_row(train, epoch=step, why=_OWN)
        stream = np.random.Philox(np.random.SeedSequence((seed, step, _ROUND)))
        rows, weights = [], []
        for client in random_order(stream, num=clients.num)[:of_round]:
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
    if not federated.is_on:
        return inner
    found = clients(task, federated)
    of_round = min(federated.clients_per_round, found.num)
    num_rows = task.data.train.batch_rows
    shape = (of_round, federated.local_steps, num_rows // of_round // federated.local_steps)
    told = (
        f"an update is a round of {of_round} of {found.num:,} clients{found.told}, each with "
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
