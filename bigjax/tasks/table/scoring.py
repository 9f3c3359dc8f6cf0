"""Owns what a finished pass over a split of a table comes to: scores, tables and curves, of classes
or of values, and the report on the data itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.tables.plan import Plan, Target
from bigjax.data.tables.table_sources import Split, Tables
from bigjax.scores import class_scores
from bigjax.scores.metrics import Confusion
from bigjax.scores.value_scores import value_scores
from bigjax.tasks import classes
from bigjax.tasks.classes import OVER_CLASSES, known, over_classes
from bigjax.tasks.task import Score, Scores

MAX_CURVES = 6  # classes whose curves are drawn, those of the lowest ROC-AUC
MAX_POINTS = 200  # of a curve
MAX_DOTS = 500  # of a cloud of points
CLASS_HEADLINE = ("accuracy", "macro_f1", "roc_auc")
VALUE_HEADLINE = ("r2", "rmse", "mae")


def declared(target: Target) -> tuple[Score, ...]:
    """Every score of a split."""
    loss = Score("loss", "Loss", "loss", higher_is_better=False)
    if not target.classes:
        return (
            loss,
            Score("r2", "R²", "R2"),
            Score("rmse", f"RMSE of {target.name}", "RMSE", higher_is_better=False),
            Score("mae", f"MAE of {target.name}", higher_is_better=False),
        )
    of_one = ()
    if len(target.classes) == 2:
        positive = target.classes[1]
        of_one = (
            Score("precision", f"Precision of {positive}"),
            Score("recall", f"Recall of {positive}"),
            Score("f1", f"F1 of {positive}"),
        )
    return (
        loss._replace(title="Log-loss"),
        Score("accuracy", "Accuracy", "accuracy"),
        *of_one,
        *OVER_CLASSES,
    )


def headline(target: Target) -> tuple[str, ...]:
    return CLASS_HEADLINE if target.classes else VALUE_HEADLINE


def score(split: Split, outputs: Mapping[str, np.ndarray], *, target: Target) -> Scores:
    """Scores of all rows of a split in order; every scalar is nan where an output is not finite."""
    found = outputs["logits" if target.classes else "value"]
    num_bad = int((~np.isfinite(found.reshape(len(found), -1))).any(axis=1).sum())
    if num_bad:
        rows = [["rows whose outputs are not finite", f"{num_bad:,} of {len(found):,}"]]
        facts = {"kind": "facts", "title": "Not scored", "rows": rows}
        own = {"loss", "accuracy"} if target.classes else {"loss"}  # of the means over batches
        names = [score.name for score in declared(target) if score.name not in own]
        return Scores(dict.fromkeys(names, np.nan), [facts])
    return (_of_classes if target.classes else _of_values)(split, found, target=target)


def class_scalars(probabilities: np.ndarray, *, labels: np.ndarray) -> dict[str, float]:
    """All that `declared` names but the means over batches."""
    confusion = _confusion(probabilities, labels=labels)
    by_class = class_scores.per_class(confusion)
    ranking = class_scores.ranking(probabilities, labels=labels)
    of_one = {}
    if probabilities.shape[1] == 2:
        of_one = {name: float(np.nan_to_num(getattr(by_class, name)[1])) for name in
                  ("precision", "recall", "f1")}  # fmt: skip
    error = class_scores.calibration(probabilities, labels=labels).error
    return of_one | classes.class_scalars(by_class, ranking, error=error)


def unscaled(values: np.ndarray, *, target: Target) -> np.ndarray:
    """Of scaled values of a regression, float64."""
    return values.astype(np.float64) * target.scale + target.center


def _of_classes(split: Split, logits: np.ndarray, *, target: Target) -> Scores:
    probabilities, labels = class_scores.softmax(logits), split.target
    found = over_classes(probabilities, labels=labels, names=target.classes)
    ranking = class_scores.ranking(probabilities, labels=labels)
    curves = _curves(probabilities, labels=labels, ranking=ranking, names=target.classes)
    scalars = class_scalars(probabilities, labels=labels)
    return Scores(scalars, found.sections + curves, found.parts)


def _confusion(probabilities: np.ndarray, *, labels: np.ndarray) -> Confusion:
    return Confusion.of(
        gold=labels,
        predicted=probabilities.argmax(axis=1),
        mask=np.ones(len(labels), bool),
        num_classes=probabilities.shape[1],
    )


def _curves(
    probabilities: np.ndarray,
    *,
    labels: np.ndarray,
    ranking: class_scores.Ranking,
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """The ROC and the precision-recall curves, of the second class where there are two."""
    defined = np.flatnonzero(~np.isnan(ranking.roc_auc))
    chosen = defined[np.argsort(ranking.roc_auc[defined], kind="stable")][:MAX_CURVES]
    if len(names) == 2:
        chosen = chosen[chosen == 1]
    if not len(chosen):
        return []
    roc, recalls = [], []
    for c in chosen:
        found = class_scores.curves(probabilities[:, c], positive=labels == c)
        kept = _thinned(len(found.recall))
        roc.append(
            {
                "name": f"{names[c]}, area {ranking.roc_auc[c]:.4f}",
                "points": [[0.0, 0.0], *_pairs(found.false_positive[kept], found.recall[kept])],
            }
        )
        recalls.append(
            {
                "name": f"{names[c]}, average precision {ranking.average_precision[c]:.4f}",
                "points": _pairs(found.recall[kept], found.precision[kept]),
            }
        )
    which = ""
    if len(chosen) < len(defined) and len(names) > 2:
        which = f" The {len(chosen)} classes of the lowest area under the ROC curve."
    return [
        {
            "kind": "curves",
            "title": "ROC curve",
            "x": "share of the other rows taken for it",
            "y": "share of its rows found",
            "series": roc,
            "reference": [[0, 0], [1, 1]],
            "range": [[0, 1], [0, 1]],
            "note": "Each class against the rest, at every threshold of its probability; on the "
            f"dashed line are guesses.{which}",
        },
        {
            "kind": "curves",
            "title": "Precision-recall curve",
            "x": "recall",
            "y": "precision",
            "series": recalls,
            "range": [[0, 1], [0, 1]],
            "note": f"Each class against the rest, at every threshold of its probability.{which}",
        },
    ]


def _of_values(split: Split, values: np.ndarray, *, target: Target) -> Scores:
    predicted, truth = (unscaled(x, target=target) for x in (values, split.target))
    found = value_scores(predicted, truth=truth)
    errors = predicted - truth
    shown = np.linspace(0, len(truth) - 1, min(len(truth), MAX_DOTS)).round().astype(int)
    some = f" {len(shown):,} of {len(truth):,} rows." if len(shown) < len(truth) else ""
    ends = [float(min(predicted.min(), truth.min())), float(max(predicted.max(), truth.max()))]
    parts = np.percentile(errors, [5, 25, 50, 75, 95])
    sections = [
        {
            "kind": "curves",
            "title": "Predicted against true",
            "x": f"true {target.name}",
            "y": "predicted",
            "dots": _pairs(truth[shown], predicted[shown]),
            "reference": [[ends[0]] * 2, [ends[1]] * 2],
            "note": f"On the dashed line both are equal.{some}",
        },
        {
            "kind": "curves",
            "title": "Residuals",
            "x": f"predicted {target.name}",
            "y": "predicted less true",
            "dots": _pairs(predicted[shown], errors[shown]),
            "reference": [[float(predicted.min()), 0.0], [float(predicted.max()), 0.0]],
            "note": "Errors that lean to a side or grow along the axis are what the model has not "
            f"learnt.{some}",
        },
        {
            "kind": "table",
            "title": "Errors",
            "columns": ["mean", "5%", "25%", "median", "75%", "95%"],
            "rows": [[float(errors.mean()), *map(float, parts)]],
            "note": "Predicted less true: their mean, and what so many of them are below.",
        },
        _worst(split, predicted=predicted, truth=truth),
    ]
    return Scores(found._asdict(), sections)


def _worst(split: Split, *, predicted: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    order = np.argsort(-np.abs(predicted - truth), kind="stable")[:10]
    rows = [
        [split.where(i), float(truth[i]), float(predicted[i]), float(predicted[i] - truth[i])]
        for i in order
    ]
    columns = ["row", "true", "predicted", "error"]
    return {"kind": "table", "title": "Largest errors", "columns": columns, "rows": rows}


def _pairs(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    return [[float(f"{a:.6g}"), float(f"{b:.6g}")] for a, b in zip(x, y)]


def _thinned(num: int) -> np.ndarray:
    """Places of at most MAX_POINTS of `num` points, the ends among them."""
    return np.unique(np.linspace(0, num - 1, min(num, MAX_POINTS)).round().astype(int))


# --- the data ---


def data_report(tables: Tables) -> list[tuple[str, str]]:
    """Rows (name, value) that say what the data is and what is made of each column."""
    plan = tables.plan
    rows = list(tables.found)
    rows += [(split, f"{len(found.ids):,} rows") for split, found in tables.splits.items()]
    rows.append(("target", _target_words(plan.target)))
    rows += [(f"column {name}", value) for name, value in column_words(plan)[:200]]
    return rows + [("warning", line) for line in warnings(plan)]


def column_words(plan: Plan) -> list[tuple[str, str]]:
    """What each column is, and why others are left out."""
    rows = []
    for column in plan.columns:
        if column.kind == "category":
            names = ", ".join(name or "(missing)" for name in column.categories[:8])
            more = ", ..." if len(column.categories) > 8 else ""
            rows.append((column.name, f"{len(column.categories):,} categories: {names}{more}"))
            continue
        first = column.features[0]
        form = f" ({column.form})" if column.form else ""
        fill = f", missing ones are {first.fill:.4g}" if plan.missing != "drop" else ""
        told = f"(x - {first.center:.4g}) / {first.scale:.4g}{fill}"
        if column.kind == "date":
            told = "as " + ", ".join(f.name.rpartition(": ")[2] for f in column.features)
        rows.append((column.name, f"{column.kind}{form}, {told}"))
    return rows + [(name, f"left out: {why}") for name, why in plan.left_out.items()]


def warnings(plan: Plan) -> tuple[str, ...]:
    """What of the data is hardly meant; a line each."""
    goal = plan.target
    empty = [name for name, count in zip(goal.classes, goal.counts) if not count]
    if not empty:
        return ()
    return (f"{goal.name}: no row of training is of {', '.join(empty[:3])}, it cannot be learnt",)


def _target_words(target: Target) -> str:
    if not target.classes:
        return (
            f"{target.name}, a number: mean {target.center:.4g}, standard deviation "
            f"{target.scale:.4g}"
        )
    pairs = [f"{name} {count:,}" for name, count in zip(target.classes, target.counts)]
    more = ", ..." if len(pairs) > 20 else ""
    return f"{target.name}, {len(pairs)} classes: {', '.join(pairs[:20])}{more}"


__all__ = ["class_scalars", "data_report", "declared", "headline", "known", "score", "unscaled"]
