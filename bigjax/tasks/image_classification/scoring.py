"""Owns what a finished pass over a split of images comes to: scores, tables, calibration, the most
confident mistakes, and the report on the data itself. The scores' arithmetic is in
`class_scores.py`."""

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.images.decoding import Images
from bigjax.errors import first_of
from bigjax.scores import class_scores
from bigjax.tasks.classes import OVER_CLASSES, over_classes
from bigjax.tasks.task import Score, Scores

NUM_MISTAKES = 24
NUM_PICTURES = 200  # kept of wrong ones, for comparing runs
WRONG_KIND = "images"  # how the report shows them
THUMBNAIL_SIDE = 128  # pixels; larger images are made smaller for the report
TOP_K = 5


def declared(class_names: Sequence[str]) -> tuple[Score, ...]:
    """Every score of a split. Among five classes or fewer the top five hold every class."""
    top = Score(f"top{TOP_K}_accuracy", f"Top-{TOP_K} accuracy")
    return (
        Score("loss", "Loss", "loss", higher_is_better=False),
        Score("accuracy", "Accuracy", "accuracy"),
        *((top,) if len(class_names) > TOP_K else ()),
        *OVER_CLASSES,
    )


HEADLINE = ("accuracy", "macro_f1", "roc_auc")


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
        return Scores(dict.fromkeys(_names(names), np.nan), [facts])

    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found = over_classes(probabilities, labels=labels, names=names)
    scalars = found.scalars
    if len(names) > TOP_K:
        top = class_scores.top_k_accuracy(probabilities, labels=labels, k=TOP_K)
        scalars = {f"top{TOP_K}_accuracy": top} | scalars
    sections = found.sections + _mistakes(images, predicted=predicted, confidence=confidence)
    wrong = functools.partial(_wrong, images, predicted=predicted, confidence=confidence)
    return Scores(scalars, sections, found.parts, wrong, WRONG_KIND)


def _names(class_names: Sequence[str]) -> list[str]:
    """The scalars of `score`: those of the means over batches come from elsewhere."""
    return [score.name for score in declared(class_names)[2:]]


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
        if images.left_out:
            rows.append((f"{split}: left out", _left_out(images.left_out)))
    return rows + [("warning", line) for line in warnings(splits)]


def warnings(splits: Mapping[str, Images]) -> tuple[str, ...]:
    """What of the data is hardly meant; a line each."""
    train = splits.get("train")
    if train is None:
        return ()
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    missing = [train.class_names[i] for i in np.flatnonzero(counts == 0)]
    if not missing:
        return ()
    classes = f"{len(missing):,} of {len(counts):,} classes have no image in train"
    return (f"{classes} and cannot be learnt: {first_of(missing)}",)


def _left_out(kinds: Mapping[str, int]) -> str:
    """Files that are no images, the most frequent kinds first."""
    most = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
    named = [f"{kinds[k]:,} {f'*{k}' if k else 'without a name ending'}" for k in most]
    files = sum(kinds.values())
    return f"{files:,} file{'s' * (files > 1)} of no kind that is read: {first_of(named)}"


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


def _mistakes(
    images: Images, *, predicted: np.ndarray, confidence: np.ndarray
) -> list[dict[str, Any]]:
    """The section of the most confident mistakes; none where there is no mistake."""
    wrong = np.flatnonzero(predicted != images.labels)
    if not wrong.size:
        return []
    ids = wrong[np.argsort(-confidence[wrong], kind="stable")][:NUM_MISTAKES]
    items = [
        _thumbnail(pixels) | _item(images, i, predicted=predicted, confidence=confidence)
        for i, pixels in zip(ids.tolist(), images.pixels(ids))
    ]
    note = (
        f"{len(wrong):,} of {len(predicted):,} images are taken for another class. Under each of "
        "these: its class, the predicted one, the confidence in that, its number in the split."
    )
    return [{"kind": WRONG_KIND, "title": "Most confident mistakes", "items": items, "note": note}]


def _wrong(
    images: Images, *, predicted: np.ndarray, confidence: np.ndarray
) -> list[dict[str, Any]]:
    """Every image that is taken for another class, the first of them with their pictures."""
    wrong = np.flatnonzero(predicted != images.labels)
    pictures = [*map(_thumbnail, images.pixels(wrong[:NUM_PICTURES]))] if wrong.size else []
    pictures += [{}] * (len(wrong) - len(pictures))
    return [
        picture | _item(images, i, predicted=predicted, confidence=confidence) | {"example": i}
        for i, picture in zip(wrong.tolist(), pictures)
    ]


def _item(
    images: Images, number: int, *, predicted: np.ndarray, confidence: np.ndarray
) -> dict[str, Any]:
    return {
        "gold": images.class_names[images.labels[number]],
        "predicted": images.class_names[predicted[number]],
        "confidence": float(confidence[number]),
        "number": number + 1,
    }


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
