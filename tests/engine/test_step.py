"""One update against numpy on a linear model, and against itself, with dropout, on a tagger: the
parts in which a batch is computed and the empty rows in it change nothing beyond rounding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from bigjax.config import values as configs
from bigjax.config.fields import fields_of
from bigjax.config.sections import Optimization
from bigjax.data.pipeline import global_batch
from bigjax.engine import optim, schedules, settings, step
from bigjax.engine.cost import count_flops
from bigjax.scores.metrics import Mean
from bigjax.tasks.task import Data, Model, Task
from bigjax.tasks.token_tagging import task as token_tagging
from bigjax.trees import leaf_names

TOLERANCE = 1e-5
NUM_ROWS = 8


# --- a linear model -------------------------------------------------------------------------------


def linear_task() -> Task:
    """As much of a task as an update looks at: least squares, and a count of what it has seen."""

    def init(key):
        return {"params": {"w": jax.random.normal(key, (3,))}, "seen": {"rows": jnp.zeros(())}}

    def apply(variables, batch, key):  # noqa: ARG001
        seen = {"rows": variables["seen"]["rows"] + batch["mask"].sum()}
        return {"y": batch["x"] @ variables["params"]["w"]}, {"seen": seen}

    def sums(outputs, batch):
        return {"loss": Mean.of(jnp.square(outputs["y"] - batch["y"]), batch["mask"])}

    model = Model(init, apply, sums, sums, layer_depths=lambda params: params)
    counts = lambda batch: {"examples": batch["mask"].sum()}  # noqa: E731
    return Task("linear", model, Data(None, {}, counts, report=list), None, None)


def linear_batch(number: int, *, num_rows: int = NUM_ROWS) -> dict[str, np.ndarray]:
    """Every third row does not count."""
    rng = np.random.default_rng(number)
    mask = np.arange(num_rows) % 3 != 2
    x = rng.standard_normal((num_rows, 3)).astype(np.float32)
    y = rng.standard_normal(num_rows).astype(np.float32)
    return {"x": x, "y": y, "mask": mask}


def make_optimizer(
    task, *, name: str = "sgd", learning_rate: float = 0.1, shape=schedules.linear, **options
):
    params = nn.meta.unbox(jax.eval_shape(task.model.init, jax.random.key(0)))["params"]
    depths = jax.tree.map(lambda _: 0, params)
    schedule = schedules.make_schedule(
        shape, learning_rate=learning_rate, total_steps=20, warmup_steps=0
    )
    own = {key: options.pop(key) for key in fields_of(optim.OPTIMIZERS[name]) if key in options}
    return optim.make_optimizer(
        params,
        settings=Optimization(
            learning_rate=learning_rate, weight_decay_rules=((r".*", 1.0),), **options
        ),
        direction=optim.OPTIMIZERS[name](**own),
        schedule=schedule,
        depths=depths,
    )


def make(task, *, seed: int = 0, ema_decay: float | None = None, parts: int = 1, **options):
    """The first state and the jitted update."""
    optimizer = make_optimizer(task, **options)
    update = step.make_train_step(
        task, optimizer, seed=seed, num_microbatches=parts, ema_decay=ema_decay
    )
    init = jax.jit(lambda: step.init_state(task.model, optimizer, seed=seed, ema_decay=ema_decay))
    return init(), jax.jit(lambda state, batch: update(state, {}, batch))


def assert_trees_equal(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_an_update_goes_down_the_gradient_of_the_mean_over_what_counts():
    state, update = make(linear_task(), clip_norm=None)
    w, batch = np.asarray(state.params["w"], np.float64), linear_batch(0)
    state, scalars = update(state, batch)
    x, y = (batch[name][batch["mask"]] for name in "xy")
    errors = x @ w - y
    gradient = 2 * errors @ x / len(y)
    np.testing.assert_allclose(scalars["loss"], np.mean(errors**2), rtol=TOLERANCE)
    np.testing.assert_allclose(scalars["grad_norm"], np.linalg.norm(gradient), rtol=TOLERANCE)
    np.testing.assert_allclose(state.params["w"], w - 0.1 * gradient, rtol=TOLERANCE)
    assert int(state.step) == 1
    assert float(scalars["learning_rate"]) == pytest.approx(0.1)
    assert int(scalars["num_examples"]) == len(y)


@pytest.mark.parametrize("parts", [1, 2])
def test_lbfgs_reaches_the_least_squares_of_what_counts_and_never_goes_up(parts):
    batch = linear_batch(0)
    options = {"learning_rate": 1.0, "shape": schedules.constant, "clip_norm": None}
    state, update = make(linear_task(), name="lbfgs", parts=parts, **options)
    losses = []
    for _ in range(20):
        state, scalars = update(state, batch)
        losses.append(float(scalars["loss"]))
    x, y = (batch[name][batch["mask"]] for name in "xy")
    expected, *_ = np.linalg.lstsq(x, y)
    np.testing.assert_allclose(state.params["w"], expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert all(after <= before * (1 + 1e-6) for before, after in zip(losses, losses[1:]))


def test_the_average_of_parameters_equals_its_recursion():
    state, update = make(linear_task(), ema_decay=0.8)
    expected = np.asarray(state.params["w"], np.float64)
    for number in range(5):
        state, _ = update(state, linear_batch(number))
        expected = 0.8 * expected + 0.2 * np.asarray(state.params["w"])
        np.testing.assert_allclose(state.ema["w"], expected, rtol=TOLERANCE)
    assert state.averaged()["params"] is state.ema
    assert state.variables()["params"] is state.params


def test_without_an_average_what_is_evaluated_is_what_is_trained():
    state, _ = make(linear_task())
    assert state.ema is None and state.averaged()["params"] is state.params


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_of_a_batch_add_up_and_hand_on_the_models_state(parts):
    state, update = make(linear_task(), parts=parts)
    expected, whole = make(linear_task())
    for number in range(3):
        state, scalars = update(state, linear_batch(number))
        expected, expected_scalars = whole(expected, linear_batch(number))
        np.testing.assert_allclose(scalars["loss"], expected_scalars["loss"], rtol=TOLERANCE)
    np.testing.assert_allclose(state.params["w"], expected.params["w"], rtol=TOLERANCE)
    assert float(state.model_state["seen"]["rows"]) == 3 * linear_batch(0)["mask"].sum()


def test_what_is_finite_is_said_of_the_loss_and_of_each_leaf():
    """Two leaves, of which one has a gradient that is not finite under a finite loss."""
    task = linear_task()
    plain = task.model

    def init(key):
        variables = plain.init(key)
        return variables | {"params": {"spike": jnp.zeros(()), **variables["params"]}}

    def apply(variables, batch, key):
        outputs, seen = plain.apply(variables, batch, key)
        spike = jnp.sqrt(variables["params"]["spike"])  # 0, with an infinite derivative
        return outputs | {"spike": spike}, seen

    def sums(outputs, batch):
        loss = plain.train_sums(outputs, batch)["loss"]
        return {"loss": loss._replace(total=loss.total + outputs["spike"])}

    task = task._replace(model=plain._replace(init=init, apply=apply, train_sums=sums))
    state, update = make(task)
    _, scalars = update(state, linear_batch(0))
    assert leaf_names(state.params) == ["spike", "w"]
    np.testing.assert_array_equal(scalars["is_finite"], [True, False, True])


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_bad_number_in_a_row_that_counts_is_seen_in_the_loss(poison, parts):
    state, update = make(linear_task(), parts=parts)
    batch = linear_batch(0)
    _, scalars = update(state, batch)
    np.testing.assert_array_equal(scalars["is_finite"], [True, True])
    batch["x"][0, 0] = poison
    _, scalars = update(state, batch)
    np.testing.assert_array_equal(scalars["is_finite"], [False, False])


# --- a tagger with dropout ------------------------------------------------------------------------


TAGGER = {
    "text.vocab_size": "200",
    "text.row_length": "24",
    "model.num_layers": "1",
    "model.hidden_size": "8",
    "model.num_heads": "2",
    "model.mlp_size": "16",
    "data.num_train": "40",
    "data.num_dev": "4",
    "data.num_test": "4",
    "batch.examples": "none",
    "batch.rows": str(NUM_ROWS),
    "model.dropout": "0.2",
    "model.attention_dropout": "0.2",
}


@pytest.fixture(scope="module")
def tagger():
    file = f"{ROOT}/configs/bert_ner.py:scratch"
    return token_tagging.make(configs.load(file, overrides=TAGGER, schema=settings.schema))


def train_three_steps(task, *, num_rows: int = NUM_ROWS, parts: int = 1):
    """The losses of three updates, and the last state. Plain gradient descent with momentum: Adam
    divides by the gradient's size and so blows up the rounding of one that is nearly 0."""
    state, update = make(task, momentum=0.9, learning_rate=0.5, parts=parts)
    losses = []
    for number in range(3):
        batch = global_batch(task.data.train, step=number, rows=np.arange(num_rows))
        state, scalars = update(state, batch)
        losses.append(float(scalars["loss"]))
    return losses, state


@pytest.fixture(scope="module")
def reference(tagger):
    return train_three_steps(tagger)


def assert_same_but_for_rounding(found, reference) -> None:
    (losses, state), (expected_losses, expected) = found, reference
    np.testing.assert_allclose(losses, expected_losses, rtol=TOLERANCE)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE), state.params, expected.params
    )


@pytest.mark.parametrize("parts", [2, 4])
def test_the_number_of_parts_changes_nothing_beyond_rounding(tagger, reference, parts):
    assert_same_but_for_rounding(train_three_steps(tagger, parts=parts), reference)


def test_empty_rows_change_nothing_beyond_rounding(tagger, reference):
    assert_same_but_for_rounding(train_three_steps(tagger, num_rows=NUM_ROWS + 3), reference)


def test_the_three_steps_moved_the_parameters_far_more_than_rounding(tagger, reference):
    """Else the tests above would prove nothing."""
    start, _ = make(tagger, momentum=0.9)
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), start.params, reference[1].params)
    assert np.median(jax.tree.leaves(moved)) > 1000 * TOLERANCE


def test_the_same_seed_is_bitwise_the_same_run(tagger, reference):
    losses, state = train_three_steps(tagger)
    assert losses == reference[0]
    assert_trees_equal(state, reference[1])


def test_dropout_is_on_and_differs_between_steps(tagger):
    """The same parameters and batch: only the number of the step differs."""
    state, update = make(tagger, momentum=0.9, learning_rate=0.5)
    batch = global_batch(tagger.data.train, step=0, rows=np.arange(NUM_ROWS))
    later = (update(state._replace(step=jnp.int32(step)), batch)[1]["loss"] for step in range(3))
    assert len({float(loss) for loss in later}) == 3


def test_an_update_is_traced_once(tagger):
    traced = []
    model = tagger.model
    counting = model._replace(apply=lambda *args: traced.append(1) or model.apply(*args))
    train_three_steps(tagger._replace(model=counting))
    assert len(traced) == 1


# --- what is not trained --------------------------------------------------------------------------


def products(fn, *args) -> int:
    return count_flops(jax.make_jaxpr(fn)(*args))


def test_frozen_parameters_have_no_gradient_and_cost_none(tagger):
    """With the encoder frozen an update is a forward pass and the gradient of the head."""
    frozen = (("encoder/.*", 0.0), (".*", 1.0))
    state, update = make(tagger, learning_rate_rules=frozen, clip_norm=None)
    _, whole = make(tagger, clip_norm=None)
    batch = global_batch(tagger.data.train, step=0, rows=np.arange(NUM_ROWS))
    found, scalars = update(state, batch)
    assert_trees_equal(found.params["encoder"], state.params["encoder"])
    assert np.any(found.params["head"]["kernel"] != state.params["head"]["kernel"])
    forward = products(lambda state: tagger.model.apply(state.variables(), batch, None), state)
    assert forward < products(update, state, batch) < 1.2 * forward
    assert products(whole, state, batch) > 2.5 * forward
    moved = jax.tree.map(lambda a, b: (a - b) / 0.1, state.params["head"], found.params["head"])
    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(moved)))
    np.testing.assert_allclose(scalars["grad_norm"], norm, rtol=1e-3)  # of what is trained alone


def teacher_task() -> Task:
    """Learns what a frozen model says, not what the batch says."""
    task = linear_task()

    def apply(variables, batch, key):
        outputs, seen = task.model.apply(variables, batch, key)
        return outputs | {"taught": batch["x"] @ variables["frozen"]["teacher"]}, seen

    def sums(outputs, batch):
        return {"loss": Mean.of(jnp.square(outputs["y"] - outputs["taught"]), batch["mask"])}

    return task._replace(model=task.model._replace(apply=apply, train_sums=sums))


@pytest.mark.parametrize("parts", [1, 2])
def test_frozen_variables_are_read_and_stay_as_they_are(parts):
    task = teacher_task()
    optimizer = make_optimizer(task, learning_rate=0.3, clip_norm=None)
    update = jax.jit(
        step.make_train_step(task, optimizer, seed=0, num_microbatches=parts, ema_decay=None),
        donate_argnums=0,
    )
    state = jax.jit(lambda: step.init_state(task.model, optimizer, seed=0, ema_decay=None))()
    teacher = {"teacher": jnp.array([1.0, -2.0, 0.5])}
    for number in range(20):
        state, _ = update(state, teacher, linear_batch(number))
    np.testing.assert_allclose(state.params["w"], [1.0, -2.0, 0.5], atol=0.05)
    np.testing.assert_array_equal(teacher["teacher"], [1.0, -2.0, 0.5])


def test_a_batch_in_which_nothing_counts_changes_nothing_and_is_no_failure():
    state, update = make(linear_task())
    batch = linear_batch(0) | {"mask": np.zeros(NUM_ROWS, bool)}
    found, scalars = update(state, batch)
    assert_trees_equal(found.params, state.params)
    assert np.asarray(scalars["is_finite"]).all()


# --- parameters in few bits -----------------------------------------------------------------------


def test_updates_too_small_for_bfloat16_are_made_now_and_then():
    """Rounded to the nearest, none of these would move a parameter."""
    wide, _ = make(linear_task())
    rules = ((".*", "bfloat16"),)
    state, update = make(
        linear_task(), learning_rate=2e-3, ema_decay=0.9, param_dtype_rules=rules, clip_norm=0.1
    )
    begin = state.params["w"]
    np.testing.assert_array_equal(begin, wide.params["w"].astype(jnp.bfloat16))
    assert np.abs(np.asarray(begin, np.float32)).min() > 0.1, "half of whose last bit is 2e-4"
    for number in range(20):
        state, _ = update(state, linear_batch(number))  # by 2e-4 in all directions together
    assert state.params["w"].dtype == jnp.bfloat16
    assert state.ema["w"].dtype == jnp.float32
    moved = np.asarray(state.params["w"], np.float32) - np.asarray(begin, np.float32)
    assert moved.any()
    assert np.abs(moved).max() < 0.02


def test_what_is_frozen_stays_as_it_is_stored_and_so_does_its_average():
    state, update = make(
        linear_task(),
        ema_decay=0.9,
        weight_decay=0.1,
        learning_rate_rules=((".*", 0.0),),
        param_dtype_rules=((".*", "bfloat16"),),
    )
    begin = np.asarray(state.params["w"], np.float32)
    for number in range(5):
        state, _ = update(state, linear_batch(number))
        np.testing.assert_array_equal(np.asarray(state.params["w"], np.float32), begin)
        np.testing.assert_allclose(state.ema["w"], begin, rtol=TOLERANCE)


# --- several updates at once ----------------------------------------------------------------------


def train_in_calls(tagger, *, sizes: list[int], most: int = 4):
    """The losses of seven updates that are cut into calls of these sizes, and the last state."""
    assert sum(sizes) == 7
    state, update = make(tagger, momentum=0.9, learning_rate=0.5)
    updates = jax.jit(step.several(lambda state, _, batch: update(state, batch), most=most))
    batches = [global_batch(tagger.data.train, step=i, rows=np.arange(NUM_ROWS)) for i in range(7)]
    losses, done = [], 0
    for size in sizes:
        few = batches[done : done + size]
        padded = [*few, *[jax.tree.map(np.zeros_like, few[0])] * (most - size)]
        given = jax.tree.map(lambda *rows: np.stack(rows), *padded)
        state, scalars = updates(state, {}, (given, jnp.int32(size)))
        assert not np.asarray(scalars["loss"][size:]).any()
        losses += scalars["loss"][:size].tolist()
        done += size
    return losses, state


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 4], [4, 2, 1]])
def test_how_updates_are_cut_into_calls_changes_no_bit(tagger, sizes):
    losses, state = train_in_calls(tagger, sizes=sizes)
    expected_losses, expected = train_in_calls(tagger, sizes=[4, 3])
    assert losses == expected_losses
    assert_trees_equal(state, expected)


def test_several_updates_at_once_are_the_updates_one_by_one(tagger, reference):
    losses, state = train_in_calls(tagger, sizes=[4, 3])
    np.testing.assert_allclose(losses[:3], reference[0], rtol=TOLERANCE)
    assert int(state.step) == 7
