"""Owns the counts of entities that precision, recall and F1 are made of: a mergeable state as those
of `metrics.py`, and by sentence. Which entities tags mean belongs to `data/text/tags.py`."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from bigjax.scores.intervals import Parts

Span = tuple[int, int, str]  # (first word, one past the last word, type)


class EntityCounts(NamedTuple):
    """Entities by type: found rightly, predicted and gold. Host-side Python."""

    correct: Counter[str]
    predicted: Counter[str]
    gold: Counter[str]

    @classmethod
    def of(
        cls,
        *,
        gold: Iterable[Sequence[str]],
        predicted: Iterable[Sequence[str]],
        spans: Callable[[Sequence[str]], list[Span]],
    ) -> Self:
        """Counts the entities of sentences, each a sequence of tags.

        An entity is found when its first word, last word and type are all right. `spans` is how
        tags are read: strictly, or as conlleval does. ValueError where gold and predicted differ in
        the number of sentences, or of words in one.
        """
        all_gold: list[Span] = []
        all_predicted: list[Span] = []
        all_correct: list[Span] = []
        for sentence, (gold_tags, tags) in enumerate(zip(gold, predicted, strict=True)):
            if len(gold_tags) != len(tags):
                lengths = f"{len(gold_tags)} gold tags and {len(tags)} predicted"
                raise ValueError(f"EntityCounts.of: sentence {sentence} has {lengths}")
            gold_spans, found = spans(gold_tags), spans(tags)
            all_gold += gold_spans
            all_predicted += found
            all_correct += set(gold_spans).intersection(found)
        kinds = ([kind for _, _, kind in found] for found in (all_correct, all_predicted, all_gold))
        return cls(*map(Counter, kinds))

    @classmethod
    def empty(cls) -> Self:
        return cls(Counter(), Counter(), Counter())

    def merge(self, other: Self) -> Self:
        return type(self)(*(mine + theirs for mine, theirs in zip(self, other)))

    def compute(self) -> dict[str, Any]:
        """Precision, recall, f1 (each 0.0 where it would divide by zero) and support (gold
        entities): over all entities ("micro"), and under "per_type" the same for each type that
        is gold or predicted, in alphabetical order."""
        correct, predicted, gold = self
        totals = _scores(correct=correct.total(), predicted=predicted.total(), gold=gold.total())
        per_type = {
            kind: _scores(correct=correct[kind], predicted=predicted[kind], gold=gold[kind])
            for kind in sorted(gold | predicted)
        }
        return {**totals, "per_type": per_type}


class Entities(NamedTuple):
    """The entities of sentences one after the other: of each its sentence, first word and one past
    its last, int64 (N,), its type, and whether the other side has exactly the same, bool (N,)."""

    sentence: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    kind: np.ndarray
    shared: np.ndarray

    @classmethod
    def of(cls, sentences: Sequence[Sequence[Span]], *, other: Sequence[Sequence[Span]]) -> Self:
        """Those of `sentences`; `other` has the entities that are compared with, of as many."""
        rows = [
            (i, *span, span in theirs)
            for i, (found, theirs) in enumerate(zip(sentences, map(set, other), strict=True))
            for span in found
        ]
        sentence, begin, end, kind, shared = zip(*rows) if rows else ((),) * 5
        places = (np.array(of, np.int64) for of in (sentence, begin, end))
        return cls(*places, np.array(kind, np.str_), np.array(shared, bool))

    def where(self, mask: np.ndarray) -> Self:
        """Those of which `mask`, bool (N,), is true."""
        return type(self)(*(of[mask] for of in self))


def f1_parts(gold: Entities, predicted: Entities, *, num_sentences: int) -> Parts:
    """F1 in the parts of each sentence."""
    correct, found, there = _by_sentence(gold, predicted, num_sentences)
    return Parts.of(2 * correct, found + there)


def precision_parts(gold: Entities, predicted: Entities, *, num_sentences: int) -> Parts:
    """Precision in the parts of each sentence."""
    correct, found, _ = _by_sentence(gold, predicted, num_sentences)
    return Parts.of(correct, found)


def recall_parts(gold: Entities, predicted: Entities, *, num_sentences: int) -> Parts:
    """Recall in the parts of each sentence."""
    correct, _, there = _by_sentence(gold, predicted, num_sentences)
    return Parts.of(correct, there)


def _by_sentence(gold: Entities, predicted: Entities, num_sentences: int) -> list[np.ndarray]:
    """Entities found rightly, predicted and gold of each sentence."""
    listed = (gold.sentence[gold.shared], predicted.sentence, gold.sentence)
    return [np.bincount(of, minlength=num_sentences) for of in listed]


def _scores(*, correct: int, predicted: int, gold: int) -> dict[str, float | int]:
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
        "support": gold,
    }
