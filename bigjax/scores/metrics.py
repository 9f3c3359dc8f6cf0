"""Owns the mergeable metric states: masked sums that are divided once, at the end.

Every state is an immutable NamedTuple with the protocol of CLU's `Metric`: `empty()`,
`merge(other)`, `compute()`; `of(...)` makes one from a batch. Merging the states of any partition
of the examples gives the state of all of them, so the batch size, the padding and the number of
devices or processes never change a score. Which metrics a task reports, and how a model's output
becomes tags, belongs to the task; what is summed for the gradient belongs to `losses.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.errors import UserError

Span = tuple[int, int, str]  # (first word, one past the last word, type)


class Mean(NamedTuple):
    """A weighted mean: a masked sum and what it is divided by. A pytree, usable inside jit.

    total: scalar, at least float32. count: scalar, int32 from `of`.

    On a device totals add up in float32 and counts in int32. `jax.device_get` a state before
    merging it onto `empty()` (float64, int64) and a long evaluation loses nothing to rounding.
    """

    total: jax.Array | np.ndarray
    count: jax.Array | np.ndarray

    @classmethod
    def of(cls, values: jax.Array, mask: jax.Array) -> Self:
        """The sum of `values` (any shape and dtype; bool counts the true ones) where `mask` is
        true; what stands where it is false is never read, so padding may hold NaN.

        mask: bool, or 0 and 1, of exactly the shape of `values`; ValueError for any other shape,
        because broadcasting one hides the mistake in a wrong mean.
        """
        values, mask = jnp.asarray(values), jnp.asarray(mask, bool)
        if values.shape != mask.shape:
            raise ValueError(f"Mean.of: values are {values.shape} but mask is {mask.shape}")
        dtype = jnp.promote_types(values.dtype, jnp.float32)
        return cls(jnp.sum(values, where=mask, dtype=dtype), jnp.sum(mask))

    @classmethod
    def empty(cls) -> Self:
        return cls(np.float64(0), np.int64(0))

    def merge(self, other: Self) -> Self:
        return type(self)(self.total + other.total, self.count + other.count)

    def compute(self) -> jax.Array | np.ndarray:
        """total / count; nan where nothing was counted."""
        with np.errstate(invalid="ignore"):  # numpy warns of 0 / 0, JAX does not
            return self.total / self.count


class Confusion(NamedTuple):
    """How often each class was taken for each: host-side numpy.

    counts: int64 [C, C], rows are gold classes and columns predicted ones; [0, 0] when empty.
    """

    counts: np.ndarray

    @classmethod
    def of(
        cls, *, gold: np.ndarray, predicted: np.ndarray, mask: np.ndarray, num_classes: int
    ) -> Self:
        """Counts pairs of class ids (integer arrays of one shape) where `mask` (same shape) is
        true; padding may hold any id. ValueError for unequal shapes or an id outside
        [0, num_classes)."""
        gold, predicted, mask = np.asarray(gold), np.asarray(predicted), np.asarray(mask, bool)
        if not gold.shape == predicted.shape == mask.shape:
            shapes = f"gold {gold.shape}, predicted {predicted.shape}, mask {mask.shape}"
            raise ValueError(f"Confusion.of: expected one shape, got {shapes}")
        gold, predicted = gold[mask].astype(np.int64), predicted[mask].astype(np.int64)
        for name, ids in (("gold", gold), ("predicted", predicted)):
            outside = ids[(ids < 0) | (ids >= num_classes)]
            if outside.size:
                expected = f"0 to {num_classes - 1}"
                raise ValueError(f"Confusion.of: {name} id {outside[0]}, expected {expected}")
        flat = np.bincount(gold * num_classes + predicted, minlength=num_classes**2)
        return cls(flat.reshape(num_classes, num_classes))

    @classmethod
    def empty(cls) -> Self:
        return cls(np.zeros((0, 0), np.int64))

    def merge(self, other: Self) -> Self:
        if not self.counts.size or not other.counts.size:
            return self if self.counts.size else other
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"Confusion.merge: {self.counts.shape} and {other.counts.shape}")
        return type(self)(self.counts + other.counts)

    def compute(self) -> np.ndarray:
        """The matrix of counts, int64 [C, C]."""
        return self.counts


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
        tags are read: the function `spans` or `conlleval_spans` of this module. ValueError where
        gold and predicted differ in the number of sentences, or of words in one.
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


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of IOB2 tags, read strictly: B-X begins one and each I-X right after goes on
    with it; an I- that goes on with nothing of its type belongs to none.

    As seqeval reads them with mode="strict", scheme=IOB2. Bare "B" and "I" have the type "_".
    UserError for a tag that is not O, B or I (plain tags, such as parts of speech, have no spans).
    """
    return _spans(tags, openers="B")


def conlleval_spans(tags: Sequence[str]) -> list[Span]:
    """The entities of tags as the conlleval script of CoNLL-2000 reads them: like `spans`, but an
    I- that goes on with nothing of its type begins an entity. So does seqeval by default."""
    return _spans(tags, openers="BI")


def _spans(tags: Sequence[str], *, openers: str) -> list[Span]:
    found: list[Span] = []
    start, going_on = 0, None  # going_on: the tag that lengthens the open span
    for i, tag in enumerate(tags):
        if tag == going_on:
            continue
        if going_on is not None:
            found.append((start, i, going_on[2:] or "_"))
            going_on = None
        if tag == "O":
            continue
        if tag[:2] not in ("B-", "I-", "B", "I"):
            raise UserError(f"entities need tags 'O', 'B-TYPE' and 'I-TYPE', but one is {tag!r}")
        if tag[0] in openers:
            start, going_on = i, "I" + tag[1:]
    if going_on is not None:
        found.append((start, len(tags), going_on[2:] or "_"))
    return found


def _scores(*, correct: int, predicted: int, gold: int) -> dict[str, float | int]:
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
        "support": gold,
    }
