"""Owns what a finished pass over a tagged split comes to: scores, tables, the worst errors, and the
report on the data itself."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.text import rows_report
from bigjax.data.text.sentences import Strings
from bigjax.data.text.tags import conlleval_spans, entity_type, has_spans, spans
from bigjax.errors import first_of
from bigjax.scores import entities
from bigjax.scores.entities import Entities, EntityCounts, Span
from bigjax.scores.intervals import Parts
from bigjax.scores.metrics import Confusion
from bigjax.tasks.classes import confusion_section, with_interval
from bigjax.tasks.task import Score, Scores
from bigjax.tasks.token_tagging import decoding, slices
from bigjax.tasks.token_tagging.rows import Split, by_word
from bigjax.tasks.token_tagging.settings import Decoding

NUM_WORST = 20
WRONG_KIND = "tagged_text"  # how the report shows sentences


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


def score(
    split: Split,
    outputs: Mapping[str, np.ndarray],
    *,
    tags: Sequence[str],
    how: Decoding,
    seen: str | None,
) -> Scores:
    """Scores of predicted tags, accuracy too.

    Args:
      outputs: logits float (R, L, T) of all rows of the split in order, and of a CRF transitions.
      seen: what is kept of the entities of training (`slices.kept`); None: nothing.
    """
    logits, gold_tags = by_word(split, outputs), split.sentences.tags
    given = {"transitions": decoding.transitions_of(outputs), "tags": tags}
    predicted = decoding.decode(logits, gold_tags.offsets, **given, kind=how.kind)
    predicted_tags = Strings(tags, predicted, gold_tags.offsets)
    scalars = {"accuracy": float(np.mean(predicted == split.labels))}
    parts = {"accuracy": _accuracy_parts(split, predicted)}
    if not has_spans(tags):
        labels = list(tags)
        sections = [
            _confusion(labels, gold=split.labels, predicted=predicted),
            slices.word_table(split, predicted),
        ]
        wrong = functools.partial(_wrong, split, predicted_tags, _word_spans)
        return Scores(scalars, sections, parts, wrong, WRONG_KIND)

    strict = EntityCounts.of(gold=gold_tags, predicted=predicted_tags, spans=spans).compute()
    lenient = EntityCounts.of(
        gold=gold_tags, predicted=predicted_tags, spans=conlleval_spans
    ).compute()
    scalars |= {f"entity_{name}": strict[name] for name in ("precision", "recall", "f1")}
    scalars["conlleval_f1"] = lenient["f1"]
    gold, found = _entities(gold_tags, predicted_tags, spans)
    of_each = {"num_sentences": len(gold_tags)}
    parts |= {
        "entity_f1": entities.f1_parts(gold, found, **of_each),
        "entity_precision": entities.precision_parts(gold, found, **of_each),
        "entity_recall": entities.recall_parts(gold, found, **of_each),
        "conlleval_f1": entities.f1_parts(
            *_entities(gold_tags, predicted_tags, conlleval_spans), **of_each
        ),
    }
    sections = [
        _type_table(strict, gold, found, all_types=parts["entity_f1"]),
        _word_confusion(split.labels, predicted, tags=tags),
        slices.entity_table(split, gold, found, seen=seen),
        _worst(
            split,
            predicted_tags,
            decoding.losses(logits, gold_tags.offsets, split.labels, **given),
        ),
    ]
    wrong = functools.partial(_wrong, split, predicted_tags, _spans_of)
    return Scores(scalars, sections, parts, wrong, WRONG_KIND)


def data_report(splits: Mapping[str, Split], *, tags: Sequence[str]) -> list[tuple[str, str]]:
    """Rows (name, value) that say what the data is and what became of it."""
    rows = [("tags", ", ".join(tags) if len(tags) <= 20 else f"{len(tags)} tags")]
    for name, split in splits.items():
        rows += rows_report.rows(
            name,
            sentences=split.sentences,
            windows=split.windows,
            packing=split.packing,
            thing="sentence",
        )
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


def _accuracy_parts(split: Split, predicted: np.ndarray) -> Parts:
    words = split.sentences.words
    right = np.add.reduceat(predicted == split.labels, words.offsets[:-1], dtype=np.int64)
    return Parts.of(right, words.lengths)


def _entities(
    gold_tags: Strings, predicted_tags: Strings, read: Callable[[Sequence[str]], list[Span]]
) -> tuple[Entities, Entities]:
    """Those that are gold, and those that are predicted."""
    gold, found = ([read(tags) for tags in side] for side in (gold_tags, predicted_tags))
    return Entities.of(gold, other=found), Entities.of(found, other=gold)


def _type_table(
    scores: Mapping[str, Any], gold: Entities, found: Entities, *, all_types: Parts
) -> dict[str, Any]:
    names = ("precision", "recall", "f1", "support")
    parts = {
        kind: entities.f1_parts(
            gold.where(gold.kind == kind),
            found.where(found.kind == kind),
            num_sentences=len(all_types.kind),
        )
        for kind in scores["per_type"]
    }
    of_all = {**scores["per_type"], "all": scores}
    rows = [[kind, *(of[name] for name in names)] for kind, of in of_all.items()]
    for row, of in zip(rows, [*parts.values(), all_types]):
        row[3] = with_interval(row[3], of)
    return {
        "kind": "table",
        "title": "Entities by type",
        "columns": ["type", "precision", "recall", "F1", "support"],
        "rows": rows,
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
        gold, found = _spans_of(split, predicted_tags, i)
        if gold != found:
            caption = f"sentence {i + 1}, loss {losses[i]:.1f}"
            items.append(_item(split, i, gold=gold, predicted=found, caption=caption))
        if len(items) == NUM_WORST:
            break
    return {"kind": WRONG_KIND, "title": "Worst errors", "items": items}


def _wrong(
    split: Split,
    predicted_tags: Strings,
    read: Callable[[Split, Strings, int], tuple[list[Span], list[Span]]],
) -> list[dict[str, Any]]:
    """Every sentence that is not all right, with what `read` finds in it."""
    read_all = ((i, *read(split, predicted_tags, i)) for i in range(len(predicted_tags)))
    return [
        _item(split, i, gold=gold, predicted=found, caption=f"sentence {i + 1}") | {"example": i}
        for i, gold, found in read_all
        if gold != found
    ]


def _spans_of(
    split: Split, predicted_tags: Strings, sentence: int
) -> tuple[list[Span], list[Span]]:
    """Entities of a sentence: gold, and predicted."""
    return spans(split.sentences.tags[sentence]), spans(predicted_tags[sentence])


def _word_spans(
    split: Split, predicted_tags: Strings, sentence: int
) -> tuple[list[Span], list[Span]]:
    """Each word whose tag is wrong as a span: gold, and predicted."""
    both = list(zip(split.sentences.tags[sentence], predicted_tags[sentence]))
    wrong = [i for i, (gold, found) in enumerate(both) if gold != found]
    return [(i, i + 1, both[i][0]) for i in wrong], [(i, i + 1, both[i][1]) for i in wrong]


def _item(
    split: Split, sentence: int, *, gold: list[Span], predicted: list[Span], caption: str
) -> dict[str, Any]:
    words = split.sentences.words[sentence]
    return {"words": words, "gold": gold, "predicted": predicted, "caption": caption}
