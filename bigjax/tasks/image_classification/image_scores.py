"""Owns what a finished pass over a split of images comes to: scores, tables, calibration, the most
confident mistakes, and the report on the data itself. The scores' arithmetic is in
`class_scores.py`."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.images.decoding import Images
from bigjax.scores import class_scores
from bigjax.scores.metrics import Confusion
from bigjax.tasks.task import Scores

NUM_MISTAKES = 24
MAX_LISTED = 100  # rows of the table by class, and classes of a confusion matrix
NUM_CONFUSIONS = 20  # listed where there are too many classes for a matrix
THUMBNAIL_SIDE = 128  # pixels; larger images are made smaller for the report
TOP_K = 5


def score_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The scalars of `score`. Among five classes or fewer the top five hold every class."""
    top = (f"top{TOP_K}_accuracy",) if len(class_names) > TOP_K else ()
    macro = ("macro_precision", "macro_recall", "macro_f1", "roc_auc", "average_precision")
    return (*top, *macro, "calibration_error")


def headline(class_names: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG001 - as every task's
    """The scores to show first."""
    return ("accuracy", "macro_f1", "roc_auc")


def score(images: Images, outputs: Mapping[str, np.ndarray]) -> Scores:
    """Scores of predicted classes; every scalar is nan where a logit is not finite.

    Args:
      outputs: logits float (N, C) of all images of the split in order.
    """
    probabilities = class_scores.softmax(outputs["logits"])
    labels, names = images.labels, images.class_names
    num_bad = int(np.isnan(probabilities).any(axis=1).sum())
    if num_bad:
        rows = [["images whose logits are not finite", f"{num_bad:,} of {len(labels):,}"]]
        facts = {"kind": "facts", "title": "Not scored", "rows": rows}
        return Scores(dict.fromkeys(score_names(names), np.nan), [facts])

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
    scalars = {
        "macro_precision": class_scores.macro(by_class.precision),
        "macro_recall": class_scores.macro(by_class.recall),
        "macro_f1": class_scores.macro(by_class.f1),
        "roc_auc": class_scores.macro(ranking.roc_auc),
        "average_precision": class_scores.macro(ranking.average_precision),
        "calibration_error": calibration.error,
    }
    if len(names) > TOP_K:
        top = class_scores.top_k_accuracy(probabilities, labels=labels, k=TOP_K)
        scalars = {f"top{TOP_K}_accuracy": top} | scalars
    sections = [
        _class_table(by_class, ranking, names=names),
        _confusion(confusion, names=names),
        _reliability(calibration),
        *_mistakes(images, predicted=predicted, confidence=probabilities.max(axis=1)),
    ]
    return Scores(scalars, sections)


def data_report(splits: Mapping[str, Images]) -> list[tuple[str, str]]:
    """Rows (name, value) that say what the data is."""
    names = next(iter(splits.values())).class_names
    listed = f": {', '.join(names)}" if len(names) <= 20 else ""
    rows = [("classes", f"{len(names):,}{listed}")]
    for split, images in splits.items():
        height, width, channels = images.shape
        colours = {1: "greyscale", 3: "RGB"}[channels]
        size = f"{len(images.labels):,} of {height} x {width} pixels, {colours}"
        rows.append((split, images.where))
        rows.append((f"{split}: images", size))
        rows.append((f"{split}: images a class", _spread(images)))
    return rows


def _spread(images: Images) -> str:
    """How many images the classes have, from the rarest to the most frequent."""
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    rarest, most = int(counts.argmin()), int(counts.argmax())
    if counts[rarest] == counts[most]:
        return f"{counts[most]:,}"
    ends = (f"{counts[i]:,} ({images.class_names[i]})" for i in (rarest, most))
    num_empty = int((counts == 0).sum())
    empty = f"; {num_empty:,} classes have none" if num_empty > 1 else ""
    return f"{' to '.join(ends)}{empty}"


def _class_table(
    by_class: class_scores.PerClass, ranking: class_scores.Ranking, *, names: Sequence[str]
) -> dict[str, Any]:
    """Lowest F1 first, so that what is cut from a long table is what needs no attention."""
    of_class = (by_class.precision, by_class.recall, by_class.f1, *ranking)
    order = np.argsort(by_class.f1, kind="stable")[:MAX_LISTED]
    values = np.transpose(of_class)
    rows = [[names[i], *map(_known, values[i]), int(by_class.support[i])] for i in order]
    mean = [_known(class_scores.macro(column)) for column in of_class]
    num_cut = len(names) - len(rows)
    cut = f" The {num_cut:,} classes of the highest F1 are left out." if num_cut else ""
    return {
        "kind": "table",
        "title": "Scores by class",
        "columns": ["class", "precision", "recall", "F1", "ROC-AUC", "AP", "support"],
        "rows": [*rows, ["mean of all classes", *mean, int(by_class.support.sum())]],
        "note": f"Lowest F1 first.{cut} ROC-AUC and AP (average precision) are of a class against "
        "the rest; a class without images has neither, and the mean leaves it out.",
    }


def _confusion(confusion: Confusion, *, names: Sequence[str]) -> dict[str, Any]:
    """The matrix; of many classes, whose matrix would swell the results file, only the most
    frequent confusions."""
    counts = confusion.compute()
    if len(names) <= MAX_LISTED:
        return {
            "kind": "confusion",
            "title": "Confusion matrix",
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


def _reliability(found: class_scores.Calibration) -> dict[str, Any]:
    bins = [
        [int(count), _known(confidence), _known(accuracy)]
        for count, confidence, accuracy in zip(found.counts, found.confidence, found.accuracy)
    ]
    return {
        "kind": "reliability",
        "title": "Calibration",
        "bins": bins,
        "note": f"Expected calibration error {found.error:.4f}: how far, on average, the accuracy "
        f"of the images in each of {len(bins)} bins is from their confidence, the probability "
        "that the model gives to the class it predicts. On the diagonal the two are equal.",
    }


def _mistakes(
    images: Images, *, predicted: np.ndarray, confidence: np.ndarray
) -> list[dict[str, Any]]:
    """The section of the most confident mistakes; none where there is no mistake."""
    wrong = np.flatnonzero(predicted != images.labels)
    if not wrong.size:
        return []
    ids = wrong[np.argsort(-confidence[wrong], kind="stable")][:NUM_MISTAKES]
    items = [
        {
            **_thumbnail(pixels),
            "gold": images.class_names[images.labels[i]],
            "predicted": images.class_names[predicted[i]],
            "confidence": float(confidence[i]),
            "number": int(i) + 1,
        }
        for i, pixels in zip(ids, images.pixels(ids))
    ]
    note = (
        f"{len(wrong):,} of {len(predicted):,} images are taken for another class. Under each of "
        "these: its class, the predicted one, the confidence in that, its number in the split."
    )
    return [{"kind": "images", "title": "Most confident mistakes", "items": items, "note": note}]


def _thumbnail(pixels: np.ndarray) -> dict[str, Any]:
    """Of an image, uint8 (H, W, C): base64 of a PNG no side of which is over THUMBNAIL_SIDE, and
    that PNG's size."""
    from PIL import Image  # slow to import, and needed once, at the end of a run

    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    png = base64.b64encode(file.getvalue()).decode()
    return {"png": png, "width": picture.width, "height": picture.height}


def _known(value: float) -> float | None:
    """A number for JSON, which has no nan."""
    return None if np.isnan(value) else float(value)
