"""Owns what is told of a trained model beside its scores: which columns it needs, and what simpler
models would score."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigjax.data import dataset
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.tables.plan import Plan, Target
from bigjax.data.tables.splitting import mixed
from bigjax.data.tables.table_sources import Split
from bigjax.scores import class_scores
from bigjax.scores.value_scores import value_scores
from bigjax.tasks.table import scoring

NUM_REPEATS = 5
MAX_ROWS = 2_000  # of the split, and
MAX_COMPUTED = 1_000_000  # in all: rows times columns times repeats
MAX_BARS = 30
LINEAR_ROWS = 20_000  # of training, that the plain linear model is fitted to
LINEAR_COLUMNS = 2_000
OutputsOf = Callable[[Dataset], Mapping[str, np.ndarray]]


def explain(
    splits: Mapping[str, Split], split: str, outputs_of: OutputsOf, *, plan: Plan, batch_rows: int
) -> list[dict[str, Any]]:
    """Sections of the report on a split."""
    return [
        simpler_models(splits, split, outputs_of, plan=plan, batch_rows=batch_rows),
        importance(splits[split], outputs_of, plan=plan, batch_rows=batch_rows),
    ]


def rows_of(split: Split, *, batch_rows: int, fingerprint: str = "") -> Dataset:
    """Each row of a split once, in order."""
    return dataset.each_once(
        lambda ids: batch_of(split, ids),
        num_examples=len(split.ids),
        batch_rows=batch_rows,
        fingerprint=fingerprint,
    )


def batch_of(split: Split, numbers: np.ndarray) -> Batch:
    """The rows of these numbers."""
    ids = split.ids[numbers]
    numbers_, categories, target = (array[ids] for array in split.arrays[:3])
    return {"numbers": numbers_, "categories": categories, "target": target}


# --- permutation importance ---


def importance(
    split: Split, outputs_of: OutputsOf, *, plan: Plan, batch_rows: int
) -> dict[str, Any]:
    """How much worse the model is when a column is another row's: the mean and the standard
    deviation of several random orders (Breiman 2001; Fisher et al. 2019)."""
    groups = _groups(plan)
    most = max(50, MAX_COMPUTED // (NUM_REPEATS * len(groups)))
    num = min(len(split.ids), MAX_ROWS, most)
    keys = mixed(np.arange(len(split.ids), dtype=np.uint64))
    chosen = split._replace(ids=split.ids[np.sort(np.argsort(keys, kind="stable")[:num])])
    orders = [
        np.argsort(mixed(np.arange(num, dtype=np.uint64) + np.uint64(num * (1 + i))))
        for i in range(NUM_REPEATS)
    ]

    def rows(numbers: np.ndarray) -> Batch:
        """Row r of repeat i of column c is row (c * NUM_REPEATS + i) * num + r; the first `num` are
        as they are."""
        block, row = np.divmod(numbers, num)
        batch = batch_of(chosen, row)
        for one in np.unique(block[block > 0]):
            column, repeat = divmod(int(one) - 1, NUM_REPEATS)
            at = block == one
            other = batch_of(chosen, orders[repeat][row[at]])
            kind, places = groups[column][1:]
            batch[kind][np.ix_(at, places)] = other[kind][:, places]
        return batch

    total = num * (1 + NUM_REPEATS * len(groups))
    outputs = outputs_of(
        dataset.each_once(rows, num_examples=total, batch_rows=batch_rows, fingerprint="")
    )
    found = _goodness(outputs, np.tile(chosen.target, total // num), plan.target, num=num)
    drops = found[0] - found[1:].reshape(len(groups), NUM_REPEATS)
    means, deviations = drops.mean(axis=1), drops.std(axis=1)
    order = np.argsort(-means, kind="stable")[:MAX_BARS]
    what = "accuracy" if plan.target.classes else "R²"
    cut = f" The first {MAX_BARS} of {len(groups):,}." if len(groups) > MAX_BARS else ""
    return {
        "kind": "bars",
        "title": "Importance of columns",
        "rows": [[groups[i][0], float(means[i]), float(deviations[i])] for i in order],
        "unit": f"drop of {what}",
        "note": f"How much lower the {what} is ({found[0]:.4f} on {num:,} rows) when a column's "
        f"values are those of other rows, mean and standard deviation of {NUM_REPEATS} random "
        "orders. Of columns that say the same each may seem to be needed little, because the "
        f"other is still there.{cut}",
    }


def _groups(plan: Plan) -> list[tuple[str, str, list[int]]]:
    """Name of each column, which array it is in, and which of its columns are its."""
    groups: list[tuple[str, str, list[int]]] = []
    at = at_code = 0
    for column in plan.columns:
        if column.kind == "category":
            groups.append((column.name, "categories", [at_code]))
            at_code += 1
            continue
        places = list(range(at, at + len(column.features)))
        groups.append((column.name, "numbers", places))
        at += len(places)
    return groups


def _goodness(
    outputs: Mapping[str, np.ndarray], gold: np.ndarray, target: Target, *, num: int
) -> np.ndarray:
    """Accuracy or R2 of each block of `num` rows, float64."""
    if target.classes:
        right = outputs["logits"].argmax(axis=1) == gold
        return right.reshape(-1, num).mean(axis=1)
    pairs = zip(outputs["value"].reshape(-1, num), gold.reshape(-1, num))
    return np.array([value_scores(value, truth=truth).r2 for value, truth in pairs])


# --- simpler models ---


def simpler_models(
    splits: Mapping[str, Split], split: str, outputs_of: OutputsOf, *, plan: Plan, batch_rows: int
) -> dict[str, Any]:
    """The scores of this model beside those of a constant guess and of a plain linear model."""
    found, goal = splits[split], plan.target
    own = outputs_of(rows_of(found, batch_rows=batch_rows))
    num = len(found.ids)
    note = "A constant guess is "
    models: dict[str, np.ndarray] = {}
    if goal.classes:
        models["this model"] = class_scores.softmax(own["logits"])
        share = np.array(goal.counts) / max(1, sum(goal.counts))
        models["constant guess"] = np.tile(share, (num, 1))
        note += "the share of each class in training"
        fit, linear = _logistic, "logistic regression (C = 1)"
    else:
        models["this model"] = scoring.unscaled(own["value"], target=goal)
        models["constant guess"] = np.full(num, goal.center)
        note += "the mean of training"
        fit, linear = _ridge, "ridge regression (alpha = 1)"
    if "train" in splits:
        weights, rows_used = fit(splits["train"], plan=plan)
        y = _features(found, found.ids, plan=plan) @ weights
        models["plain linear model"] = (
            class_scores.softmax(y) if goal.classes else scoring.unscaled(y[:, 0], target=goal)
        )
        note += f"; the linear one is a {linear} fitted to {rows_used:,} rows of it."
    else:
        note += "; the linear one is not here, because it needs the training data."
    columns = ["accuracy", "macro F1", "ROC-AUC", "log-loss"]
    columns = columns if goal.classes else ["R²", "RMSE", "MAE"]
    measure = functools.partial(_measured, found, goal=goal)
    return {
        "kind": "table",
        "title": "Beside simpler models",
        "columns": ["model", *columns],
        "rows": [[name, *measure(values)] for name, values in models.items()],
        "note": note,
    }


def _measured(split: Split, values: np.ndarray, *, goal: Target) -> list[float | None]:
    gold = split.target
    if not goal.classes:
        found = value_scores(values, truth=scoring.unscaled(gold, target=goal))
        return [scoring.known(found.r2), found.rmse, found.mae]
    scalars = scoring.class_scalars(values, labels=gold)
    accuracy = float((values.argmax(axis=1) == gold).mean())
    losses = -np.log(np.maximum(values[np.arange(len(gold)), gold], 1e-15))
    rest = [scoring.known(scalars[name]) for name in ("macro_f1", "roc_auc")]
    return [accuracy, *rest, float(losses.mean())]


def _features(split: Split, ids: np.ndarray, *, plan: Plan) -> np.ndarray:
    """Numbers, categories as ones and zeros where not too many, and 1: float64 (n, D)."""
    parts = [split.arrays.numbers[ids].astype(np.float64)]
    room = LINEAR_COLUMNS
    for i, num in enumerate(plan.num_codes):
        if num <= room:
            parts.append(np.eye(num)[split.arrays.categories[ids, i]])
            room -= num
    return np.concatenate([*parts, np.ones((len(ids), 1))], axis=1)


def _training(split: Split, *, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets of at most LINEAR_ROWS rows, evenly over the table."""
    places = np.linspace(0, len(split.ids) - 1, min(len(split.ids), LINEAR_ROWS))
    ids = split.ids[places.round().astype(int)]
    return _features(split, ids, plan=plan), split.arrays.target[ids]


def _ridge(split: Split, *, plan: Plan) -> tuple[np.ndarray, int]:
    """Weights (D, 1), the last of the constant, which no penalty is on."""
    x, y = _training(split, plan=plan)
    penalty = np.eye(x.shape[1])
    penalty[-1, -1] = 0
    return np.linalg.lstsq(x.T @ x + penalty, x.T @ y.astype(np.float64)[:, None])[0], len(y)


def _logistic(split: Split, *, plan: Plan) -> tuple[np.ndarray, int]:
    """Weights (D, K) of the softmax regression."""
    from scipy import optimize  # JAX brings it; slow to import, and needed once

    x, y = _training(split, plan=plan)
    shape = (x.shape[1], len(plan.target.classes))
    gold = np.eye(shape[1])[y]
    strength = 2.0 if shape[1] == 2 else 1.0  # the weights of two classes share what one has

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        p = class_scores.softmax(x @ weights)
        loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-300)).sum()
        loss += 0.5 * strength * np.square(weights[:-1]).sum()
        gradient = x.T @ (p - gold)
        gradient[:-1] += strength * weights[:-1]
        return loss / len(y), gradient.ravel() / len(y)

    found = optimize.minimize(
        objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    return found.x.reshape(shape), len(y)
