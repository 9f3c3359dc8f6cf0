"""Owns the counts of entities that precision, recall and F1 are made of, a mergeable state as those
of `metrics.py`. Which entities tags mean belongs to `data/text/tags.py`."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

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


def _scores(*, correct: int, predicted: int, gold: int) -> dict[str, float | int]:
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
        "support": gold,
    }
