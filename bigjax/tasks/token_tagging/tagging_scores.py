"""Owns what a finished pass over a tagged split comes to: scores, tables, the worst errors, and the
report on the data itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.text import packing
from bigjax.data.text.packing import Packing
from bigjax.data.text.sentences import Sentences
from bigjax.data.text.tags import conlleval_spans, entity_type, has_spans, spans
from bigjax.data.text.windowing import Windows, fill_rows
from bigjax.scores.entities import EntityCounts
from bigjax.scores.metrics import Confusion
from bigjax.tasks.task import Scores

NUM_WORST = 20


class Split(NamedTuple):
    """A split ready for the model.

    labels: int32 (num_words,), the number of each word's tag, over the whole split.
    """

    sentences: Sentences
    windows: Windows
    labels: np.ndarray
    packing: Packing


def score_names(tags: Sequence[str]) -> tuple[str, ...]:
    """The scalars of `score`."""
    entity = ("entity_f1", "entity_precision", "entity_recall", "conlleval_f1")
    return entity if has_spans(tags) else ()


def headline(tags: Sequence[str]) -> tuple[str, ...]:
    """The scores to show first."""
    return score_names(tags)[:3] or ("accuracy",)


def score(split: Split, outputs: Mapping[str, np.ndarray], *, tags: Sequence[str]) -> Scores:
    """Scores of predicted tags.

    Args:
      outputs: tags int (R, L) and losses float (R, L) of all rows of the split in order.
    """
    predicted, losses = _by_word(split, outputs)
    gold_tags = split.sentences.tags
    sizes = np.fromiter(map(len, gold_tags), np.int64, len(gold_tags))
    begins = np.cumsum(sizes) - sizes
    names = np.array(tags, object)[predicted]
    predicted_tags = [names[b : b + n].tolist() for b, n in zip(begins, sizes)]
    sentence_losses = np.add.reduceat(losses, begins)
    if not has_spans(tags):
        labels = list(tags)
        return Scores({}, [_confusion(labels, gold=split.labels, predicted=predicted)])

    strict = EntityCounts.of(gold=gold_tags, predicted=predicted_tags, spans=spans).compute()
    lenient = EntityCounts.of(
        gold=gold_tags, predicted=predicted_tags, spans=conlleval_spans
    ).compute()
    scalars = {f"entity_{name}": strict[name] for name in ("precision", "recall", "f1")}
    scalars["conlleval_f1"] = lenient["f1"]
    sections = [
        _type_table(strict),
        _word_confusion(split.labels, predicted, tags=tags),
        _worst(split, predicted_tags, sentence_losses),
    ]
    return Scores(scalars, sections)


def data_report(splits: Mapping[str, Split], *, tags: Sequence[str]) -> list[tuple[str, str]]:
    """Rows (name, value) that say what the data is and what became of it."""
    rows = [("tags", ", ".join(tags) if len(tags) <= 20 else f"{len(tags)} tags")]
    for name, split in splits.items():
        num_sentences, num_words = len(split.sentences.words), len(split.labels)
        lengths = split.windows.lengths
        rows.append((name, f"{split.sentences.where}"))
        rows.append(
            (
                f"{name}: size",
                f"{num_sentences:,} sentences, {num_words:,} words, {lengths.sum():,} tokens",
            )
        )
        rows.append(
            (
                f"{name}: rows",
                f"{split.packing.num_rows:,} of {split.packing.row_length} tokens, "
                f"{split.packing.fill:.1%} filled; longest sentence "
                f"{max(map(len, split.sentences.words))} words",
            )
        )
        if len(lengths) > num_sentences:
            extra = len(lengths) - num_sentences
            rows.append(
                (f"{name}: windows", f"{extra:,} more than sentences (long ones are split)")
            )
        if split.windows.num_unknown_words:
            rows.append(
                (
                    f"{name}: unknown",
                    f"{split.windows.num_unknown_words:,} words that the tokenizer drops are kept "
                    "as its unknown token",
                )
            )
        if has_spans(tags):
            kinds = Counter(
                tag[2:] for found in split.sentences.tags for tag in found if tag[0] == "B"
            )
            counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
            rows.append((f"{name}: entities", counts or "none"))
    return rows


def _by_word(split: Split, outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted tag and loss of each word of the split, each from the one token that labels it."""
    examples = packing.once(split.packing)(np.arange(split.packing.num_rows))
    words = fill_rows(split.windows, examples, row_length=split.packing.row_length)["words"]
    counted = words >= 0
    word = words[counted]
    assert len(word) == len(split.labels), "every word is predicted exactly once"
    predicted = np.full(len(split.labels), -1, np.int64)
    predicted[word] = outputs["tags"][counted]
    assert (predicted >= 0).all(), "every word is predicted exactly once"
    losses = np.empty(len(split.labels), np.float64)
    losses[word] = outputs["losses"][counted]
    return predicted, losses


def _type_table(scores: Mapping[str, Any]) -> dict[str, Any]:
    names = ("precision", "recall", "f1", "support")
    rows = [[kind, *(found[n] for n in names)] for kind, found in scores["per_type"].items()]
    return {
        "kind": "table",
        "title": "Entities by type",
        "columns": ["type", "precision", "recall", "F1", "support"],
        "rows": [*rows, ["all", *(scores[name] for name in names)]],
        "note": "Strict: an entity counts only with exactly its boundaries and type, and a "
        "prediction that does not begin with B- is none.",
    }


def _word_confusion(
    gold: np.ndarray, predicted: np.ndarray, *, tags: Sequence[str]
) -> dict[str, Any]:
    names = ["O" if tag == "O" else entity_type(tag) for tag in tags]
    kinds = list(dict.fromkeys(names))
    kind_of = np.array([kinds.index(name) for name in names])
    return _confusion(kinds, gold=kind_of[gold], predicted=kind_of[predicted])


def _confusion(labels: list[str], *, gold: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    mask = np.ones(len(gold), bool)
    confusion = Confusion.of(gold=gold, predicted=predicted, mask=mask, num_classes=len(labels))
    return {
        "kind": "confusion",
        "title": "Words by type",
        "labels": labels,
        "counts": confusion.compute().tolist(),
    }


def _worst(
    split: Split, predicted_tags: Sequence[Sequence[str]], losses: np.ndarray
) -> dict[str, Any]:
    items = []
    for i in np.argsort(-losses, kind="stable").tolist():
        gold, found = spans(split.sentences.tags[i]), spans(predicted_tags[i])
        if gold != found:
            items.append(
                {
                    "words": list(split.sentences.words[i]),
                    "gold": gold,
                    "predicted": found,
                    "caption": f"sentence {i + 1}, loss {losses[i]:.1f}",
                }
            )
        if len(items) == NUM_WORST:
            break
    return {"kind": "tagged_text", "title": "Worst errors", "items": items}
