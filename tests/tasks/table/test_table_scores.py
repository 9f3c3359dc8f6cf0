"""What a pass over a table comes to, against scikit-learn, and what is told beside it."""

import json

import numpy as np
import pytest
from sklearn import linear_model
from sklearn import metrics as sklearn

from bigjax.data.tables.table_sources import Columns, read_tables, sklearn_table
from bigjax.report import sections
from bigjax.scores import class_scores
from bigjax.tasks.table import explain, scoring


def tables(name):
    return read_tables(sklearn_table(train=name), Columns())


def logits_for(split, num_classes, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(split.ids), num_classes)).astype(np.float32)
    logits[np.arange(len(split.ids)), split.target] += 1.5
    return logits


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_scores_of_classes_are_those_of_scikit_learn(name):
    found = tables(name)
    split, target = found.splits["test"], found.plan.target
    logits = logits_for(split, len(target.classes))
    scores = scoring.score(split, {"logits": logits}, target=target)
    probabilities, gold = class_scores.softmax(logits), split.target
    predicted = probabilities.argmax(1)
    of = dict(zip(("precision", "recall", "f1"), sklearn.precision_recall_fscore_support(
        gold, predicted, average="macro")))  # fmt: skip
    expected = {f"macro_{key}": value for key, value in of.items()}
    if len(target.classes) == 2:
        one = sklearn.precision_recall_fscore_support(gold, predicted, average="binary")
        expected |= dict(zip(("precision", "recall", "f1"), one))
        expected["roc_auc"] = sklearn.roc_auc_score(gold, probabilities[:, 1])
    else:
        expected["roc_auc"] = sklearn.roc_auc_score(gold, probabilities, multi_class="ovr")
    for key, value in expected.items():
        assert scores.scalars[key] == pytest.approx(value, abs=1e-12), key
    names = {score.name for score in scoring.declared(target)}
    assert set(scores.scalars) | {"loss", "accuracy"} == names
    assert set(scoring.headline(target)) <= names
    stored = json.loads(json.dumps(scores.sections, allow_nan=False))
    assert all(sections.render(section) for section in stored)


def test_curves_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 9, 80) / 8, rng.random(80) < 0.4
    found = class_scores.curves(scores, positive=positive)
    fpr, tpr, _ = sklearn.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive, fpr[1:])
    np.testing.assert_allclose(found.recall, tpr[1:])
    precision, recall, _ = sklearn.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(found.precision, precision[:-1][::-1])
    np.testing.assert_allclose(found.recall, recall[:-1][::-1])


def test_scores_of_values_are_those_of_scikit_learn_in_the_units_of_the_target():
    found = tables("diabetes")
    split, target = found.splits["test"], found.plan.target
    value = np.random.default_rng(0).normal(size=len(split.ids)).astype(np.float32)
    scores = scoring.score(split, {"value": value}, target=target)
    truth, predicted = (scoring.unscaled(x, target=target) for x in (split.target, value))
    assert scores.scalars == {
        "rmse": pytest.approx(sklearn.root_mean_squared_error(truth, predicted)),
        "mae": pytest.approx(sklearn.mean_absolute_error(truth, predicted)),
        "r2": pytest.approx(sklearn.r2_score(truth, predicted)),
    }
    raw = np.array(read_raw("diabetes"))[split.ids]
    np.testing.assert_allclose(truth, raw, rtol=1e-5)
    assert all(sections.render(section) for section in scores.sections)


def read_raw(name):
    table, _ = sklearn_table(train=name).read("train")
    return table.columns["target"].numbers


@pytest.mark.parametrize(("name", "key"), [("wine", "logits"), ("diabetes", "value")])
def test_outputs_that_are_not_finite_are_scored_as_nan_and_said(name, key):
    found = tables(name)
    split, target = found.splits["dev"], found.plan.target
    shape = (len(split.ids), 3) if key == "logits" else (len(split.ids),)
    outputs = np.zeros(shape, np.float32)
    outputs[2] = np.inf
    scores = scoring.score(split, {key: outputs}, target=target)
    assert np.isnan(list(scores.scalars.values())).all()
    own = {"loss", "accuracy"} if key == "logits" else {"loss"}
    assert set(scores.scalars) | own == {score.name for score in scoring.declared(target)}
    assert scores.sections[0]["rows"][0][1] == f"1 of {len(split.ids)}"


# --- beside the scores ---


def model_of(weights):
    """A model that is a weighted sum of the numbers, as `explain` asks for one."""

    def outputs_of(dataset):
        rows = dataset.rows(np.arange(dataset.num_rows))
        z = rows["numbers"].astype(np.float64) @ weights
        return {"value": z} if weights.ndim == 1 else {"logits": z}

    return outputs_of


def test_a_column_that_the_model_does_not_look_at_has_no_importance():
    found = tables("diabetes")
    weights = np.zeros(10)
    weights[[2, 8]] = 0.5, 0.1
    section = explain.importance(
        found.splits["test"], model_of(weights), plan=found.plan, batch_rows=7
    )
    rows = {name: (mean, deviation) for name, mean, deviation in section["rows"]}
    assert [name for name, *_ in section["rows"]][:1] == ["bmi"]
    assert all(rows[c.name] == (0, 0) for i, c in enumerate(found.plan.columns) if not weights[i])
    assert sections.render(section)


def test_importance_is_the_mean_drop_of_the_score_over_random_orders():
    """A slow obvious reference with orders of its own, of the one column that the model reads."""
    found = tables("diabetes")
    split = found.splits["train"]
    weights = np.zeros(10)
    weights[2] = 0.6
    section = explain.importance(split, model_of(weights), plan=found.plan, batch_rows=64)
    name, mean, deviation = section["rows"][0]
    x, y = split.arrays.numbers[split.ids, 2].astype(np.float64), split.target
    rng = np.random.default_rng(0)
    r2 = lambda x: sklearn.r2_score(y, 0.6 * x)  # noqa: E731
    drops = [r2(x) - r2(rng.permutation(x)) for _ in range(200)]
    assert name == "bmi" and abs(mean - np.mean(drops)) < 3 * np.std(drops)
    assert deviation < 3 * np.std(drops)


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_the_plain_linear_model_is_scikit_learns(name):
    found = tables(name)
    weights, used = explain._logistic(found.splits["train"], plan=found.plan)
    train, test = found.splits["train"], found.splits["test"]
    assert used == len(train.ids)
    x = lambda split: split.arrays.numbers[split.ids].astype(np.float64)  # noqa: E731
    expected = linear_model.LogisticRegression(C=1.0, max_iter=10_000).fit(x(train), train.target)
    z = explain._features(test, test.ids, plan=found.plan) @ weights
    np.testing.assert_allclose(class_scores.softmax(z), expected.predict_proba(x(test)), atol=5e-3)


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_simpler_models_stand_beside_and_without_training_data_only_the_guess(name):
    found = tables(name)
    num = len(found.plan.features)
    weights = np.zeros((num, 3)) if name == "wine" else np.zeros(num)
    for splits, models in (
        (found.splits, ["this model", "constant guess", "plain linear model"]),
        ({"test": found.splits["test"]}, ["this model", "constant guess"]),
    ):
        section = explain.simpler_models(
            splits, "test", model_of(weights), plan=found.plan, batch_rows=16
        )
        assert [row[0] for row in section["rows"]] == models
        assert sections.render(section)
    best = explain.simpler_models(
        found.splits, "test", model_of(weights), plan=found.plan, batch_rows=16
    )["rows"]
    assert best[2][1] > best[1][1] + 0.2
