"""The task of tables as a training has it: its sums, its penalties, and where training ends."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from sklearn import linear_model
from tiny_runs import one_device

from bigjax.config import values as configs
from bigjax.data.tables import plan as plans
from bigjax.data.tables.table_sources import Columns, read_tables, sklearn_table
from bigjax.engine import build, settings, sharding
from bigjax.errors import UserError
from bigjax.loop import starting_points
from bigjax.models import mlp
from bigjax.tasks.table import model, task, use
from bigjax.tasks.table.settings import Loss

SKLEARN = {"data.source": "sklearn", "data.train": "breast_cancer"}
TABLE = ROOT / "configs" / "table.py"


def load(variant="classify", overrides=()) -> configs.Config:
    return configs.load(f"{TABLE}:{variant}", overrides=dict(overrides), schema=settings.schema)


def trained(name: str, *, num_steps: int, l2: float, **columns):
    """Coefficients (D, K) and constants (K,) of the linear model of a table of scikit-learn, with
    the arrays that it was trained on."""
    given = {f"data.{key}": str(value) for key, value in columns.items()}
    config = load("linear", {**SKLEARN, "data.train": name, "loss.l2": repr(l2), **given})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        setup = build.build(config)
    state, _ = starting_points.new_state(setup)
    put = setup.put(range(1))
    for _ in range(num_steps):
        state, _ = setup.train_step(state, put)
    head = jax.device_get(state.params["head"])
    split = read_tables(sklearn_table(train=name), config.of(Columns)).splits["train"]
    return head, split.arrays.numbers[split.ids].astype(np.float64), split.target


def test_logistic_regression_of_two_classes_reaches_the_coefficients_of_scikit_learn():
    num = 398
    head, x, y = trained("breast_cancer", num_steps=60, l2=1 / (2 * num))
    assert len(y) == num
    expected = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(head["kernel"].T, expected.coef_, atol=1e-4)
    np.testing.assert_allclose(head["bias"], expected.intercept_, atol=1e-4)


@pytest.mark.slow
def test_softmax_regression_reaches_the_coefficients_of_scikit_learn():
    head, x, y = trained("wine", num_steps=60, l2=1 / (2 * 124))
    assert len(y) == 124
    expected = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(head["kernel"].T, expected.coef_, atol=1e-4)
    centred = lambda bias: bias - bias.mean()  # noqa: E731 - which only sum together
    np.testing.assert_allclose(centred(head["bias"]), centred(expected.intercept_), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 1.0, 100.0])
def test_linear_and_ridge_regression_reach_the_coefficients_of_scikit_learn(alpha):
    head, x, y = trained("diabetes", num_steps=60, l2=alpha / 310)
    assert len(y) == 310
    expected = linear_model.Ridge(alpha=alpha, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(head["kernel"][:, 0], expected.coef_, atol=1e-4)
    np.testing.assert_allclose(head["bias"][0], expected.intercept_, atol=1e-4)


# --- the sums ---


def made(*, loss=Loss(), name="wine", network=None, weights=None):  # noqa: B008
    plan = read_tables(sklearn_table(train=name), Columns()).plan
    found = model.make_model(
        network or mlp.mlp(widths=(4,)), plan=plan, loss=loss, weights_K=weights, adopt=None
    )
    return plan, found


def batch_of(plan, *, num=7, seed=0) -> dict:
    rng = np.random.default_rng(seed)
    target = rng.standard_normal(num).astype(np.float32)
    if plan.target.classes:
        target = rng.integers(0, len(plan.target.classes), num).astype(np.int32)
    return {
        "numbers": rng.standard_normal((num, len(plan.features))).astype(np.float32),
        "categories": np.zeros((num, len(plan.num_codes)), np.int32),
        "target": target,
        "mask": np.arange(num) % 3 != 1,
        "row": np.arange(num, dtype=np.int32),
    }


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_a_penalty_is_added_to_the_mean_of_what_counts_in_training_alone(name):
    plan, plain = made(name=name)
    _, penalised = made(name=name, loss=Loss(l1=0.1, l2=0.01))
    variables = nn.meta.unbox(jax.jit(plain.init)(jax.random.key(0)))
    batch = batch_of(plan)

    @jax.jit
    def means(key):
        of = lambda found, sums, key: sums(found.apply(variables, batch, key)[0], batch)  # noqa: E731
        train = [of(found, found.train_sums, key) for found in (plain, penalised)]
        evals = [of(found, found.eval_sums, None) for found in (plain, penalised)]
        return [sums["loss"].compute() for sums in (*train, *evals)]

    kernels = [variables["params"][layer]["kernel"] for layer in ("hidden_0", "head")]
    expected = sum(0.1 * np.abs(k).sum() + 0.01 * np.square(k).sum() for k in kernels)
    plain_train, train, plain_eval, evaluated = map(float, means(jax.random.key(1)))
    assert train - plain_train == pytest.approx(expected, rel=1e-4)
    assert evaluated == plain_eval


@pytest.mark.parametrize(
    ("error", "of"),
    [
        ("squared", lambda d: d**2),
        ("absolute", np.abs),
        ("huber", lambda d: np.where(abs(d) < 1, d**2, 2 * abs(d) - 1)),
    ],
)
def test_errors_of_a_regression_are_means_over_the_rows_that_count(error, of):
    plan, found = made(name="diabetes", loss=Loss(error=error))
    batch = batch_of(plan)
    value = np.linspace(-3, 3, 7).astype(np.float32)
    sums = found.eval_sums({"value": jnp.asarray(value)}, batch)
    difference = (value - batch["target"])[batch["mask"]]
    assert float(sums["loss"].compute()) == pytest.approx(of(difference).mean(), rel=1e-5)


def test_an_export_needs_no_more_than_the_columns():
    plan, found = made(network=mlp.residual_mlp(width=4))
    variables = nn.meta.unbox(jax.jit(found.init)(jax.random.key(0)))
    batch = {key: x for key, x in batch_of(plan).items() if key in ("numbers", "categories")}
    outputs, _ = jax.jit(lambda v, b: found.apply(v, b, None))(variables, batch)
    assert outputs["logits"].shape == (7, 3)


def test_layers_are_numbered_from_the_inputs_to_the_head():
    _, found = made(network=mlp.residual_mlp(width=4, num_blocks=11))
    params = nn.meta.unbox(jax.eval_shape(found.init, jax.random.key(0)))["params"]
    depths = {name: set(jax.tree.leaves(tree)) for name, tree in found.layer_depths(params).items()}
    assert depths["stem"] < depths["block_0_in"] or min(depths["stem"]) < min(depths["block_0_in"])
    assert min(depths["block_2_in"]) < min(depths["block_10_in"]) < min(depths["head"])


@pytest.mark.parametrize(
    ("variant", "overrides", "says"),
    [
        ("classify", {"loss.error": "huber"}, "loss.error='huber': the target 'target' is classes"),
        ("regress", {"loss.label_smoothing": "0.1"}, "loss.label_smoothing=0.1: .* is a number"),
        ("regress", {"loss.class_weights": "balanced"}, "loss.class_weights='balanced'"),
        ("files", {}, "data.train is empty"),
        ("files", {"data.train": "none.csv"}, "none.csv: cannot be read"),
    ],
)
def test_a_setting_that_does_not_fit_the_target_is_one_line(variant, overrides, says):
    with pytest.raises(UserError, match=says):
        task.make(load(variant, overrides))


def test_lbfgs_with_a_part_of_the_rows_says_how_many_there_are():
    with pytest.raises(UserError, match="a batch has 64 of 398: set batch.rows=398"):
        build.build(load("linear", {**SKLEARN, "batch.rows": "64"}))


# --- use ---


def test_predictions_are_written_behind_the_columns_as_they_came():
    plan = read_tables(sklearn_table(train="iris"), Columns()).plan
    found = use.use_of(plan, batch_rows=4)
    given = {"note": 'a "b", c', **{c.name: "1.50" for c in plan.columns}}
    row = found.prepare(given)
    encoded = found.encode([row])
    assert encoded.rows.num_rows == 1
    logits = np.log(np.array([[0.2, 0.5, 0.3]]))
    (answer,) = encoded.decode({"logits": logits})
    assert answer["prediction"] == "versicolor" and answer["score"] == pytest.approx(0.5)
    header, line = (
        f(row, answer) for f in (found.formats["csv"].header, found.formats["csv"].line)
    )
    assert header.startswith("note,sepal length (cm),") and header.endswith(
        "prediction,score,probability setosa,probability versicolor,probability virginica\n"
    )
    assert line.startswith('"a ""b"", c",1.50,1.50,1.50,1.50,versicolor,0.5')


def test_predicted_numbers_are_scaled_back():
    plan = read_tables(sklearn_table(train="diabetes"), Columns()).plan
    found = use.use_of(plan, batch_rows=4)
    row = found.prepare(dict.fromkeys((c.name for c in plan.columns), 0.0))
    (answer,) = found.encode([row]).decode({"value": np.array([2.0], np.float32)})
    assert answer == {"prediction": pytest.approx(plan.target.center + 2 * plan.target.scale)}


def test_the_parameters_of_another_run_are_taken_where_its_columns_are_the_same(tmp_path: Path):
    plan = read_tables(sklearn_table(train="iris"), Columns()).plan
    (tmp_path / use.COLUMNS_FILE).write_text(plans.to_json(plan))
    params = {"hidden_0": {"kernel": np.ones((4, 2))}, "head": {"kernel": np.ones((2, 3))}}
    assert task._adopt(params, str(tmp_path), plan=plan) == (params, "")
    other = plan._replace(target=plan.target._replace(classes=("a", "b")))
    kept, note = task._adopt(params, str(tmp_path), plan=other)
    assert list(kept) == ["hidden_0"] and "head is not taken" in note
    fewer = plan._replace(columns=plan.columns[:2])
    assert task._adopt(params, str(tmp_path), plan=fewer)[0] == {}


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_what_is_handed_over_answers_as_predictions_do(name):
    config = load("classify" if name == "wine" else "regress", {**SKLEARN, "data.train": name})
    made = task.make(config)
    variables = nn.meta.unbox(jax.jit(made.model.init)(jax.random.key(0)))
    leaving = made.use.portable()
    params = leaving.params(variables)
    samples = leaving.samples(params, "dev", 40)
    apply = jax.jit(leaving.apply)
    found = [np.asarray(apply(params, batch)) for batch in samples.batches]
    assert all(x.shape[1] == leaving.outputs[1] for x in found)
    rows = made.data.evals["dev"]
    num = rows.num_examples
    outputs = made.model.apply(variables, rows.rows(np.arange(num)), None)[0]
    values = np.asarray(outputs["logits"] if "logits" in outputs else outputs["value"][:, None])
    at = np.linspace(0, num - 1, min(num, 40)).astype(int)
    np.testing.assert_allclose(samples.compared(found), values[at], atol=1e-5)
    assert len(samples.answers(found)) == len(samples.given) == len(at)
    with pytest.raises(UserError, match="transformers has no model of tables"):
        leaving.huggingface(params)
