"""Owns what a finished pass over a split of texts comes to: scores, tables, the most confident
mistakes, and the report on the data itself.

Of texts of any number of classes the scores belong to `multi.py`, the arithmetic of all to
`class_scores.py`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.text import rows_report
from bigjax.errors import first_of
from bigjax.scores import class_scores
from bigjax.scores.temperature import softmax_loss
from bigjax.tasks.classes import OVER_CLASSES, calibrating_by, over_classes
from bigjax.tasks.task import Calibrating, Score, Scores
from bigjax.tasks.text_classification.rows import Split, by_text, place

NUM_MISTAKES = 20
WRONG_KIND = "tagged_text"  # how the report shows texts
MAX_WORDS = 120  # of a text that are shown

DECLARED = (
    Score("loss", "Loss", "loss", higher_is_better=False),
    Score("accuracy", "Accuracy", "accuracy"),
    *OVER_CLASSES,
)
HEADLINE = ("accuracy", "macro_f1", "roc_auc")


def score(split: Split, outputs: Mapping[str, np.ndarray], *, names: Sequence[str]) -> Scores:
    """Scores of predicted classes; every scalar is nan where a logit is not finite.

    Args:
      outputs: logits float (R, S, C) of all rows of the split in order.
    """
    logits = by_text(split, outputs)
    if not np.isfinite(logits).all():
        return not_finite(logits, declared=DECLARED)
    probabilities = class_scores.softmax(logits)
    found = over_classes(probabilities, labels=split.targets, names=names)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != split.targets)
    item = functools.partial(
        shown,
        split,
        gold=lambda i: names[split.targets[i]],
        predicted=lambda i: names[predicted[i]],
    )
    sections = found.sections + mistakes(
        wrong, confidence=confidence, item=item, num=len(predicted)
    )
    scalars = {"accuracy": float(np.mean(predicted == split.targets)), **found.scalars}
    return Scores(
        scalars,
        sections,
        found.parts,
        lambda: [item(i, confidence=confidence[i]) | {"example": i} for i in wrong.tolist()],
        WRONG_KIND,
    )


def calibrating(splits: Mapping[str, Split]) -> Calibrating:
    """A temperature of the logits of whole texts."""
    return calibrating_by(
        lambda split, outputs: by_text(splits[split], outputs),
        loss=lambda split, logits: softmax_loss(logits, labels=splits[split].targets),
        found=lambda split, logits: class_scores.calibration(
            class_scores.softmax(logits), labels=splits[split].targets
        ),
        things="texts",
    )


def not_finite(logits: np.ndarray, *, declared: Sequence[Score]) -> Scores:
    """The scores of a split of which a logit is not finite, but those of means over batches."""
    num_bad = int((~np.isfinite(logits)).any(axis=1).sum())
    rows = [["texts whose logits are not finite", f"{num_bad:,} of {len(logits):,}"]]
    facts = {"kind": "facts", "title": "Not scored", "rows": rows}
    return Scores(dict.fromkeys([score.name for score in declared[1:]], np.nan), [facts])


def mistakes(
    wrong: np.ndarray, *, confidence: np.ndarray, item: Callable[..., dict[str, Any]], num: int
) -> list[dict[str, Any]]:
    """The section of the most confident mistakes; none where there is no mistake.

    Args:
      wrong: the numbers of the texts. confidence: float (N,). item: (number, confidence=) -> what
        is shown of a text. num: of all texts.
    """
    if not wrong.size:
        return []
    ids = wrong[np.argsort(-confidence[wrong], kind="stable")][:NUM_MISTAKES].tolist()
    return [
        {
            "kind": WRONG_KIND,
            "title": "Most confident mistakes",
            "items": [item(i, confidence=confidence[i]) for i in ids],
            "note": f"{len(wrong):,} of {num:,} texts are not classified as they should be.",
        }
    ]


def shown(
    split: Split,
    number: int,
    *,
    gold: Callable[[int], str],
    predicted: Callable[[int], str],
    confidence: float,
) -> dict[str, Any]:
    """A text as the report shows it, what it is of and what it was taken for as one span over it
    all; of a long text its beginning."""
    words = [word for word in split.sentences.words[number] if word] or ["(empty)"]
    if len(words) > MAX_WORDS:
        words = [*words[:MAX_WORDS], f"... ({len(words) - MAX_WORDS:,} more words)"]
    caption = f"{place(split.sentences, number)}, confidence {confidence:.3f}"
    spans = ([[0, len(words), of(number)]] for of in (gold, predicted))
    return dict(zip(("words", "gold", "predicted", "caption"), (words, *spans, caption)))


# --- the data ---


def data_report(splits: Mapping[str, Split], *, names: Sequence[str]) -> list[tuple[str, str]]:
    """Rows (name, value) that say what the data is and what became of it."""
    listed = f": {', '.join(names)}" if len(names) <= 20 else ""
    rows = [("classes", f"{len(names):,}{listed}")]
    for name, split in splits.items():
        rows += rows_report.rows(
            name,
            sentences=split.sentences,
            windows=split.windows,
            packing=split.packing,
            thing="text",
        )
        rows.append((f"{name}: texts a class", _spread(split, names=names)))
    return rows + [("warning", line) for line in warnings(splits, names=names)]


def warnings(splits: Mapping[str, Split], *, names: Sequence[str]) -> tuple[str, ...]:
    """What of the data is hardly meant; a line each."""
    if "train" not in splits:
        return ()
    counts, lines = _counts(splits["train"], num_classes=len(names)), []
    for name, split in splits.items():
        of_split = _counts(split, num_classes=len(names))
        unseen = [f"{names[i]} ({of_split[i]:,})" for i in np.flatnonzero((counts == 0) & of_split)]
        if unseen:
            lines.append(
                f"{name} has classes that no text of train is of, which cannot be learnt: "
                f"{first_of(unseen)}"
            )
    if (counts > 0).sum() == 1:
        lines.append(
            f"every text of train is of the class {names[int(counts.argmax())]!r}: there is "
            "nothing to learn; see that it is read as it is meant"
        )
    return tuple(lines)


def _counts(split: Split, *, num_classes: int) -> np.ndarray:
    if split.targets.ndim == 2:
        return split.targets.sum(axis=0)
    return np.bincount(split.targets, minlength=num_classes)


def _spread(split: Split, *, names: Sequence[str]) -> str:
    """How many texts the classes have, from the rarest to the most frequent."""
    counts = _counts(split, num_classes=len(names))
    rarest, most = int(counts.argmin()), int(counts.argmax())
    if counts[rarest] == counts[most]:
        return f"{counts[most]:,}"
    ends = (f"{counts[i]:,} ({names[i]})" for i in (rarest, most))
    num_empty = int((counts == 0).sum())
    empty = f"; {num_empty:,} classes have none" if num_empty > 1 else ""
    return f"{' to '.join(ends)}{empty}"
