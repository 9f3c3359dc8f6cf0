"""Federated averaging against a loop over clients, and its rounds against what they should hold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from bigjax.config import values as configs
from bigjax.data.dataset import by_index
from bigjax.data.shuffling import shuffled
from bigjax.engine import build, settings, sharding, step
from bigjax.errors import UserError
from bigjax.methods import federated, gradient
from bigjax.methods.federated import WEIGHT, Federated
from bigjax.scores.metrics import Mean
from bigjax.tasks.task import Data, Model, Task

TOLERANCE = 1e-5
FIVE = Federated(num_clients=5, clients_per_round=3, local_steps=2, local_learning_rate=0.05)
NUM_EXAMPLES, ROWS = 40, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((NUM_EXAMPLES, 3)).astype(np.float32)
Y = RNG.standard_normal(NUM_EXAMPLES).astype(np.float32)


def linear_task(chosen: Federated) -> Task:
    """Least squares, of which every fifth row does not count."""

    def apply(variables, batch, key):  # noqa: ARG001
        return {"y": batch["x"] @ variables["params"]["w"]}, {}

    def sums(outputs, batch):
        return {"loss": Mean.of(jnp.square(outputs["y"] - batch["y"]), batch["mask"])}

    init = lambda key: {"params": {"w": jax.random.normal(key, (3,))}}  # noqa: E731
    model = Model(init, apply, sums, sums, layer_depths=lambda params: params)
    order = shuffled(NUM_EXAMPLES, seed=0)

    def rows(numbers):
        ids = order(numbers)
        return {"x": X[ids], "y": Y[ids], "mask": ids % 5 != 0, "id": ids}

    train = by_index(rows, order=order, num_examples=NUM_EXAMPLES, batch_rows=ROWS, fingerprint="")
    data = Data(train, {}, counts=lambda batch: {}, report=list)  # noqa: ARG005
    return federated.as_trained(Task("linear", model, data, None, None), chosen, seed=1)


def batch_of(task, number, *, num_rows=None):
    train = task.data.train
    batch = train.rows(number * train.batch_rows + np.arange(train.batch_rows))
    room = (num_rows or train.batch_rows) - train.batch_rows
    return {k: np.pad(x, ((0, room),) + ((0, 0),) * (x.ndim - 1)) for k, x in batch.items()}


def test_the_gradient_of_a_round_is_that_of_a_loop_over_clients():
    task = linear_task(FIVE)
    batch, w = batch_of(task, 3), np.array([0.5, -1.0, 2.0])
    way, weights = np.zeros(3), 0.0
    for client in range(3):
        own = w.copy()
        for update in range(2):
            here = np.arange(ROWS) + (client * 2 + update) * ROWS
            x, y, mask = (batch[name][here] for name in ("x", "y", "mask"))
            errors = (x @ own - y)[mask]
            own -= 0.05 * 2 * errors @ x[mask] / max(mask.sum(), 1)
        weight = batch[WEIGHT][client * 2 * ROWS]
        way, weights = way + weight * (w - own), weights + weight
    state = step.TrainState(jnp.int32(0), {"w": jnp.asarray(w, jnp.float32)}, {}, None, None)
    method = federated.gradients(gradient.PLAIN, FIVE, task)

    def mean(state, batch):
        return step.mean_gradients(
            task.model, state, batch, key=jax.random.key(0), num_microbatches=1, method=method
        )

    grads, sums, _ = jax.jit(mean)(state, batch)
    np.testing.assert_allclose(grads["w"], way / weights, rtol=TOLERANCE)
    assert float(sums["loss"].count) == batch["mask"].sum()
    mesh = sharding.make_mesh("data=-1")
    padded = jax.device_put(batch_of(task, 3, num_rows=32), sharding.batch_sharding(mesh))
    found, *_ = jax.jit(sharding.on_mesh(mean, mesh))(state, padded)
    np.testing.assert_allclose(found["w"], way / weights, rtol=TOLERANCE)


def test_a_client_sees_its_own_examples_alone_and_weighs_as_many_as_it_has():
    task = linear_task(FIVE)
    of_client, seen, drawn = {}, set(), []
    for number in range(40):
        batch = batch_of(task, number)
        ids, weights = batch["id"].reshape(3, -1), batch[WEIGHT].reshape(3, -1)
        clients = [frozenset(one.tolist()) for one in ids]
        for one, weight in zip(clients, weights):
            assert len(set(weight.tolist())) == 1
            for example in one:
                of_client.setdefault(example, set()).add(float(weight[0]))
        assert not clients[0] & clients[1] and not clients[1] & clients[2]
        seen |= set().union(*clients)
        drawn.append(tuple(sorted(weights[:, 0].tolist())))
    assert seen == set(range(NUM_EXAMPLES)), "each has its turn"
    assert all(len(weights) == 1 for weights in of_client.values())
    assert sum(1 / next(iter(weights)) for weights in of_client.values()) == pytest.approx(5)
    assert len(set(drawn)) > 3, "rounds have other clients"


def test_a_round_is_a_function_of_seed_and_step_however_it_is_asked_for():
    train = linear_task(FIVE).data.train
    numbers = 7 * train.batch_rows + np.random.default_rng(0).permutation(train.batch_rows)
    again = linear_task(FIVE).data.train
    whole = train.rows(np.sort(numbers))
    for name, value in again.rows(numbers).items():
        np.testing.assert_array_equal(value, whole[name][np.argsort(np.argsort(numbers))])
    ids = np.concatenate(again.examples(np.sort(numbers)))
    np.testing.assert_array_equal(ids, whole["id"])


def test_one_update_of_all_clients_is_the_gradient_of_all_data():
    """With a learning rate of 1 for the clients; each here sees all that it has."""
    two = Federated(num_clients=1, clients_per_round=9, local_steps=1, local_learning_rate=1.0)
    task = linear_task(two)
    assert task.data.train.batch_rows == ROWS
    method = federated.gradients(gradient.PLAIN, two, task)
    batch, params = batch_of(task, 0), {"w": jnp.ones(3)}
    state = step.TrainState(jnp.int32(0), params, {}, None, None)
    given = {"key": jax.random.key(0), "num_microbatches": 1}
    found, *_ = step.mean_gradients(task.model, state, batch, method=method, **given)
    expected, *_ = step.mean_gradients(task.model, state, batch, **given)
    np.testing.assert_allclose(found["w"], expected["w"], rtol=TOLERANCE)


def by_column(column, **changed):
    """The task above, whose examples have a column."""
    chosen = dataclasses.replace(FIVE, num_clients=None, client_column="site", **changed)
    task = linear_task(Federated())
    return federated.as_trained(
        task._replace(data=task.data._replace(column=column)), chosen, seed=1
    ), chosen


def test_the_values_of_a_column_are_clients():
    sites = [("north", "east", "a far place")[min(i % 7, 2)] for i in range(NUM_EXAMPLES)]
    asked = []
    task, chosen = by_column(lambda name: asked.append(name) or {"site": sites}[name])
    seen = set()
    for number in range(20):
        batch = batch_of(task, number)
        of_round = set()
        for ids, weights in zip(*(batch[name].reshape(3, -1) for name in ("id", WEIGHT))):
            (site,) = {sites[i] for i in ids}
            assert set(weights.tolist()) == {sites.count(site)}
            of_round.add(site)
            seen |= set(ids.tolist())
        assert of_round == set(sites)
    assert seen == set(range(NUM_EXAMPLES))
    (note,) = federated.gradients(gradient.PLAIN, chosen, task).notes
    assert "a round of 3 of 3 clients, the values of 'site' with 6 to 28 examples" in note
    assert asked == ["site"], "files are read once for it"


def test_no_more_clients_a_round_than_a_column_has():
    task, _ = by_column(lambda name: [name] * NUM_EXAMPLES, clients_per_round=8)  # noqa: ARG005
    assert task.data.train.batch_rows == ROWS * 2


def test_the_column_of_a_table_may_be_one_that_the_model_does_not_see(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "t.csv"
    rows = [f"{x:.6f},{'ab'[int(x > 0)]},s{i % 4}\n" for i, x in enumerate(rng.normal(size=200))]
    path.write_text("x,y,site\n" + "".join(rows))
    overrides = {"data.train": str(path), "data.target": "y", "data.drop": "site"}
    overrides |= {"federated.client_column": "site", "batch.rows": "4"}
    task = build.build(
        configs.load(f"{ROOT}/configs/table.py", overrides=overrides, schema=settings.schema)
    ).task
    values = {line.split(",")[0]: line.split(",")[2].strip() for line in rows}
    sites = np.array(task.data.column("site"))
    assert sorted(np.unique(sites)) == ["s0", "s1", "s2", "s3"] and len(values) == 200
    assert len(sites) == task.data.train.num_examples < 200
    numbers = np.arange(task.data.train.batch_rows)
    ids = np.concatenate(task.data.train.examples(numbers)).reshape(4, -1)
    assert all(len(set(sites[of_client])) == 1 for of_client in ids)
    assert {sites[of_client[0]] for of_client in ids} == set(sites)


def test_an_error_of_a_column_names_the_setting():
    def column(name):
        raise UserError(f"a.csv: has no {name!r}")

    with pytest.raises(UserError, match=r"federated.client_column='site': a.csv: has no 'site'"):
        by_column(column)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"federated.client_column": "site"}, "leave one of both out"),
        (
            {"federated.client_column": "site", "federated.num_clients": "none"},
            "image_classification have no columns; divide them by chance",
        ),
        ({"batch.accumulate": "2"}, "a round is computed as a whole"),
        ({"privacy.noise_multiplier": "1"}, "does not go with privacy"),
    ],
)
def test_what_does_not_go_with_it_is_refused(overrides, reason):
    config = configs.load(
        f"{ROOT}/configs/cnn_digits.py",
        overrides={"federated.num_clients": "5"} | overrides,
        schema=settings.schema,
    )
    with pytest.raises(UserError, match=reason):
        build.build(config)


def test_off_changes_neither_data_nor_gradient():
    task = linear_task(FIVE)
    assert federated.as_trained(task, Federated(), seed=0) is task
    assert federated.gradients(gradient.PLAIN, Federated(), task) is gradient.PLAIN
