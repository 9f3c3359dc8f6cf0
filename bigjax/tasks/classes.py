"""Owns what tasks that choose among classes share: weights of classes in the loss, and the parts of
the report that show scores by class, confusions and calibration."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config.fields import AtLeast
from bigjax.errors import UserError, first_of
from bigjax.scores import class_scores, temperature
from bigjax.scores.intervals import Parts, interval
from bigjax.scores.losses import cross_entropy
from bigjax.scores.metrics import Confusion, Mean
from bigjax.tasks.task import Calibrating, Score, Scores

# Scores that every task over classes declares, each class against the rest.
OVER_CLASSES = (
    Score("macro_precision", "Macro precision"),
    Score("macro_recall", "Macro recall"),
    Score("macro_f1", "Macro F1"),
    Score("roc_auc", "ROC-AUC"),
    Score("average_precision", "Average precision"),
    Score("calibration_error", "Calibration error", higher_is_better=False),
)
MAX_LISTED = 100  # rows of the table by class, and classes of a confusion matrix
NUM_CONFUSIONS = 20  # listed where there are too many classes for a matrix

ClassWeights = Annotated[
    tuple[float, ...] | Literal["balanced"] | None,
    AtLeast(0),
    "how much an example of each class counts, in the order of the run's file of classes: a number "
    "for each, or 'balanced': inversely to how frequent classes are in training; None: all alike",
]


def class_weights(
    weights: ClassWeights, *, labels: np.ndarray, class_names: Sequence[str]
) -> np.ndarray | None:
    """Weights of the classes in the training loss, float32 (C,); None: all alike.

    Args:
      weights: `loss.class_weights`; "balanced": inversely to how frequent each class is in
        `labels`, the class ids of the training set.
    Raises:
      UserError: not one number of 0 or more for each class.
    """
    num_classes = len(class_names)
    if weights is None:
        return None
    if weights == "balanced":
        counts = np.bincount(labels, minlength=num_classes)
        weights = len(labels) / (num_classes * np.maximum(counts, 1))
    elif len(weights) != num_classes or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise UserError(
            f"loss.class_weights={weights}: expected {num_classes} numbers of 0 or more, one for "
            f"each of {', '.join(class_names)}; or 'balanced'"
        )
    return np.array(weights, np.float32)


def shared_weights(weights: ClassWeights) -> tuple[str, ...]:
    """As `Data.shared`."""
    if weights != "balanced":
        return ()
    return (
        "loss.class_weights='balanced' are shares of the training data; give numbers, or leave "
        "them out",
    )


def training_loss(
    logits: jax.Array,
    *,
    targets: Sequence[tuple[jax.Array, Any]],
    mask: jax.Array,
    smoothing: float,
    weights_C: np.ndarray | None,
    weight: jax.Array | None = None,
) -> Mean:
    """Cross-entropy over what `mask` counts, divided by the sum of the weights of its classes.

    Args:
      logits: (..., C). mask: bool (...). weight: (...), how much each counts; None: all alike.
      targets: class ids (...) and the share of the target that is theirs, (...) or 1.0; several
        where examples are mixed.
    """
    losses: Any = 0.0
    total: Any = 0.0
    for labels, share in targets:
        share = share if weights_C is None else share * jnp.asarray(weights_C)[labels]
        share = share if weight is None else share * weight
        losses += share * cross_entropy(logits, labels=labels, smoothing=smoothing)
        total += share
    loss = Mean.of(losses, mask)
    return (
        loss
        if weights_C is None and weight is None
        else loss._replace(count=jnp.sum(total, where=mask))
    )


def adopt_head(
    params: Mapping[str, Any], *, theirs: Sequence[str], ours: Sequence[str], things: str
) -> tuple[dict[str, Any], str]:
    """`params` whose "head" has a column for each of `ours`, in their order; without it, and a note
    that says so, where it was trained for other classes.

    Args:
      params: its "head" holds kernel (D, C) and bias (C,), columns in the order of `theirs`.
      things: what the classes are, for the note ("tags").
    """
    only_theirs = [name for name in theirs if name not in ours]
    only_ours = [name for name in ours if name not in theirs]
    if only_theirs or only_ours or len(theirs) != len(ours):
        lists = [("only it has", only_theirs), ("only the data has", only_ours)]
        named = "; ".join(f"{what} {first_of(names)}" for what, names in lists if names)
        rest = {name: tree for name, tree in params.items() if name != "head"}
        differ = named or "one of them twice"
        return rest, f"its head is not taken, it has other {things} ({differ})"
    order = np.array([list(theirs).index(name) for name in ours])
    head = {name: np.asarray(leaf)[..., order] for name, leaf in params["head"].items()}
    return {**params, "head": head}, ""


def macro_f1_parts(labels: np.ndarray, *, predicted: np.ndarray, num_classes: int) -> Parts:
    """The mean of the classes' F1 in the parts of each example; class ids (N,)."""
    pairs, kind = np.unique(labels * num_classes + predicted, return_inverse=True)
    gold, found = (np.eye(num_classes)[of] for of in np.divmod(pairs, num_classes))
    return Parts(kind.reshape(-1).astype(np.int32), 2 * gold * found, gold + found)


def over_classes(probabilities: np.ndarray, *, labels: np.ndarray, names: Sequence[str]) -> Scores:
    """What a task over classes scores of all examples of a split: what OVER_CLASSES names, the
    table by class, the confusions, and what accuracy and macro F1 are made of.

    Args:
      probabilities: float64 (N, C), finite. labels: class ids (N,).
    """
    predicted = probabilities.argmax(axis=1)
    confusion = Confusion.of(
        gold=labels,
        predicted=predicted,
        mask=np.ones(len(labels), bool),
        num_classes=len(names),
    )
    by_class = class_scores.per_class(confusion)
    ranking = class_scores.ranking(probabilities, labels=labels)
    calibration = class_scores.calibration(probabilities, labels=labels)
    sections = [
        class_table(by_class, ranking, names=names),
        confusion_section(confusion, names=names),
    ]
    parts = {"accuracy": Parts.of(predicted == labels, np.ones(len(labels)))}
    if len(names) <= MAX_LISTED:
        parts["macro_f1"] = macro_f1_parts(labels, predicted=predicted, num_classes=len(names))
    scalars = class_scalars(by_class, ranking, error=calibration.error)
    return Scores(scalars, sections, parts)


def class_scalars(
    by_class: class_scores.PerClass, ranking: class_scores.Ranking, *, error: float
) -> dict[str, float]:
    """The scalars that OVER_CLASSES names. error: of calibration."""
    means = {
        "macro_precision": by_class.precision,
        "macro_recall": by_class.recall,
        "macro_f1": by_class.f1,
        "roc_auc": ranking.roc_auc,
        "average_precision": ranking.average_precision,
    }
    found = {name: class_scores.macro(of_class) for name, of_class in means.items()}
    return found | {"calibration_error": error}


def class_table(
    by_class: class_scores.PerClass, ranking: class_scores.Ranking, *, names: Sequence[str]
) -> dict[str, Any]:
    """Lowest F1 first, so that what is cut from a long table is what needs no attention."""
    of_class = (by_class.precision, by_class.recall, by_class.f1, *ranking)
    order = np.argsort(by_class.f1, kind="stable")[:MAX_LISTED]
    values = np.transpose(of_class)
    rows = [[names[i], *map(known, values[i]), int(by_class.support[i])] for i in order]
    mean = [known(class_scores.macro(column)) for column in of_class]
    num_cut = len(names) - len(rows)
    cut = f" The {num_cut:,} classes of the highest F1 are left out." if num_cut else ""
    return {
        "kind": "table",
        "title": "Scores by class",
        "columns": ["class", "precision", "recall", "F1", "ROC-AUC", "AP", "support"],
        "rows": [*rows, ["mean of all classes", *mean, int(by_class.support.sum())]],
        "note": f"Lowest F1 first.{cut} ROC-AUC and AP (average precision) are of a class against "
        "the rest; a class without examples has neither, and the mean leaves it out.",
    }


def confusion_section(
    confusion: Confusion, *, names: Sequence[str], title: str = "Confusion matrix"
) -> dict[str, Any]:
    """The matrix; of many classes, whose matrix would swell the results file, only the most
    frequent confusions."""
    counts = confusion.compute()
    if len(names) <= MAX_LISTED:
        return {
            "kind": "confusion",
            "title": title,
            "labels": list(names),
            "counts": counts.tolist(),
        }
    wrong = counts * ~np.eye(len(names), dtype=bool)
    gold, predicted = np.nonzero(wrong)
    support, found = counts.sum(axis=1), wrong[gold, predicted]
    order = np.argsort(-found, kind="stable")[:NUM_CONFUSIONS]
    return {
        "kind": "table",
        "title": "Most frequent confusions",
        "columns": ["gold", "predicted", "count", "share of gold"],
        "rows": [
            [names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / support[i])]
            for i, j in zip(gold[order], predicted[order])
        ],
        "note": f"{len(names):,} classes are too many for a picture of all confusions.",
    }


def calibrating(labels: Mapping[str, np.ndarray], *, things: str) -> Calibrating:
    """Of a model whose outputs are `logits` (N, C), a row for each example: a temperature.

    labels: of each split. things: what is classified ("images").
    """
    return calibrating_by(
        lambda _, outputs: outputs["logits"],
        loss=lambda split, logits: temperature.softmax_loss(logits, labels=labels[split]),
        found=lambda split, logits: class_scores.calibration(
            class_scores.softmax(logits), labels=labels[split]
        ),
        things=things,
    )


def calibrating_by(
    logits_of: Callable[[str, Mapping[str, np.ndarray]], np.ndarray],
    *,
    loss: Callable[[str, np.ndarray], temperature.Loss],
    found: Callable[[str, np.ndarray], class_scores.Calibration],
    things: str,
    **named: str,
) -> Calibrating:
    """A temperature of `logits`, whatever they are of.

    Args:
      logits_of: (split, outputs) -> those of its examples. loss: (split, these) -> what the
        temperature makes least. found: (split, these) -> what confidence is worth.
      named: more of `calibration_section`.
    """

    def fit(split: str, outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return fitted(loss(split, logits_of(split, outputs)))

    def score(
        split: str, outputs: Mapping[str, np.ndarray], corrected: Mapping[str, np.ndarray] | None
    ) -> Scores:
        if not np.isfinite(outputs["logits"]).all():
            return Scores({"calibrated_error": np.nan}, [])
        before, after = (of and found(split, logits_of(split, of)) for of in (outputs, corrected))
        section = calibration_section(before, things=things, after=after, **named)
        return Scores({"calibrated_error": (after or before).error}, [section])

    title = "Calibration error with temperature"
    declared = Score("calibrated_error", title, higher_is_better=False)
    return Calibrating(fit, tempered, (declared,), score)


def fitted(loss: temperature.Loss) -> dict[str, Any]:
    """The temperature of the least loss, and what that is, before and after."""
    found = temperature.fit(loss)
    return {"temperature": found, "loss": known(loss(1.0)), "loss_calibrated": known(loss(found))}


def tempered(outputs: Mapping[str, np.ndarray], found: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`outputs` whose scores of classes, or of sequences, are divided by a temperature."""
    scaled = ("logits", "transitions")
    return {
        name: temperature.divided(of, found["temperature"]) if name in scaled else of
        for name, of in outputs.items()
    }


def calibration_section(
    before: class_scores.Calibration,
    *,
    things: str,
    after: class_scores.Calibration | None,
    confidence: str = "the probability that the model gives to the class it predicts",
) -> dict[str, Any]:
    """Of a model as it is, and with its temperature; None where there was no dev split to fit one
    to.

    things: what is predicted ("images"). confidence: what is called so.
    """
    error = f"Expected calibration error {before.error:.4f}"
    diagrams = {"as trained": before}
    if after is None:
        error += "; there was no dev split, so the temperature is 1"
    else:
        error += f" as trained, {after.error:.4f} with the temperature that was fitted on dev"
        diagrams["with its temperature"] = after
    return {
        "kind": "reliability",
        "title": "Calibration",
        "diagrams": [[name, _bins(of)] for name, of in diagrams.items()],
        "note": f"{error}: how far, on average, the accuracy of the {things} in each of "
        f"{len(before.counts)} bins of equal width is from their confidence, {confidence}. On the "
        "diagonal the two are equal.",
    }


def _bins(found: class_scores.Calibration) -> list[list[float | None]]:
    return [
        [int(count), known(confidence), known(accuracy)]
        for count, confidence, accuracy in zip(found.counts, found.confidence, found.accuracy)
    ]


def with_interval(value: float, parts: Parts) -> dict[str, float | None]:
    """A score and its 95% interval as a cell of a table."""
    low, high = interval(parts)
    return {"value": known(value), "low": known(low), "high": known(high)}


def known(value: float) -> float | None:
    """A number for JSON, which has no nan."""
    return None if np.isnan(value) else float(value)
