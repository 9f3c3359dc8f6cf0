"""Owns what a finished pass over a tagged split comes to: scores, tables, the worst errors, and the
report on the data itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.text.sentences import Strings
from bigjax.data.text.tags import conlleval_spans, entity_type, has_spans, spans
from bigjax.errors import first_of
from bigjax.scores import class_scores
from bigjax.scores.entities import EntityCounts
from bigjax.scores.metrics import Confusion
from bigjax.tasks.classes import confusion_section
from bigjax.tasks.task import Score, Scores
from bigjax.tasks.token_tagging.rows import Split, by_word

NUM_WORST = 20


def declared(tags: Sequence[str]) -> tuple[Score, ...]:
    """Every score of a split."""
    entity = (
        Score("entity_f1", "Entity F1", "F1"),
        Score("entity_precision", "Entity precision", "precision"),
        Score("entity_recall", "Entity recall", "recall"),
        Score("conlleval_f1", "Conlleval F1"),
    )
    return (
        Score("loss", "Loss", "loss", higher_is_better=False),
        *(entity if has_spans(tags) else ()),
        Score("accuracy", "Accuracy", "accuracy"),
    )


def headline(tags: Sequence[str]) -> tuple[str, ...]:
    """The scores to show first."""
    return ("entity_f1", "entity_precision", "entity_recall") if has_spans(tags) else ("accuracy",)


def score(split: Split, outputs: Mapping[str, np.ndarray], *, tags: Sequence[str]) -> Scores:
    """Scores of predicted tags.

    Args:
      outputs: logits float (R, L, T) of all rows of the split in order.
    """
    logits = by_word(split, outputs)
    predicted = logits.argmax(axis=1)
    gold_tags = split.sentences.tags
    predicted_tags = Strings(tags, predicted, gold_tags.offsets)
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
        _worst(split, predicted_tags, _losses(split, logits)),
    ]
    return Scores(scalars, sections)


def data_report(splits: Mapping[str, Split], *, tags: Sequence[str]) -> list[tuple[str, str]]:
    """Rows (name, value) that say what the data is and what became of it."""
    rows = [("tags", ", ".join(tags) if len(tags) <= 20 else f"{len(tags)} tags")]
    for name, split in splits.items():
        num_sentences, num_words = len(split.sentences.words), len(split.labels)
        lengths, windows = split.sentences.words.lengths, split.windows.lengths
        at = (5, 50, 95, 99)
        of_each = ", ".join(f"{p}%: {n:,.0f}" for p, n in zip(at, np.percentile(lengths, at)))
        extra = len(windows) - num_sentences
        more = f", {extra:,} more than sentences (long ones are split)" if extra else ""
        unknown = split.windows.num_unknown_words
        rows += [
            (name, f"{split.sentences.where}"),
            (
                f"{name}: size",
                f"{num_sentences:,} sentences, {num_words:,} words, {windows.sum():,} sub-words "
                "with special tokens",
            ),
            (f"{name}: words a sentence", f"{of_each}, longest: {lengths.max():,}"),
            (f"{name}: windows", f"{len(windows):,}{more}"),
            (
                f"{name}: rows",
                f"{split.packing.num_rows:,} of {split.packing.row_length} tokens, "
                f"{split.packing.fill:.1%} filled",
            ),
            (
                f"{name}: unknown",
                f"{unknown:,} words ({unknown / num_words:.2%}) are not known to the tokenizer, "
                "whole or in part",
            ),
        ]
        if has_spans(tags):
            begins = {k[2:]: n for k, n in split.sentences.tags.counts().items() if k[0] == "B"}
            counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(begins.items()))
            rows.append((f"{name}: entities", counts or "none"))
    return rows + [("warning", line) for line in warnings(splits)]


def warnings(splits: Mapping[str, Split]) -> tuple[str, ...]:
    """What of the data is hardly meant; a line each."""
    if "train" not in splits:
        return ()
    of_split = {name: split.sentences.tags.counts() for name, split in splits.items()}
    of_train, lines = of_split.pop("train"), []
    if len(of_train) == 1:
        lines.append(
            f"every word of train ({splits['train'].sentences.where}) has the tag "
            f"{next(iter(of_train))!r}: there is nothing to learn; see that it is read as it is "
            "meant"
        )
    for name, counts in of_split.items():
        unseen = [f"{tag} ({count:,})" for tag, count in counts.items() if tag not in of_train]
        if unseen:
            lines.append(
                f"{name} has tags that no word of train has, which cannot be learnt: "
                f"{first_of(unseen)}"
            )
    return tuple(lines)


def _losses(split: Split, logits: np.ndarray) -> np.ndarray:
    """The summed loss of each sentence, float64."""
    probabilities = class_scores.softmax(logits)
    gold = probabilities[np.arange(len(split.labels)), split.labels]
    with np.errstate(divide="ignore"):
        return np.add.reduceat(-np.log(gold), split.sentences.words.offsets[:-1])


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
    return confusion_section(confusion, names=labels, title="Words by type")


def _worst(split: Split, predicted_tags: Strings, losses: np.ndarray) -> dict[str, Any]:
    items = []
    for i in np.argsort(-losses, kind="stable").tolist():
        gold, found = spans(split.sentences.tags[i]), spans(predicted_tags[i])
        if gold != found:
            items.append(
                {
                    "words": split.sentences.words[i],
                    "gold": gold,
                    "predicted": found,
                    "caption": f"sentence {i + 1}, loss {losses[i]:.1f}",
                }
            )
        if len(items) == NUM_WORST:
            break
    return {"kind": "tagged_text", "title": "Worst errors", "items": items}
