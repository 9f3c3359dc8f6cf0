"""Entity scores against seqeval, the masked sums against plain numpy."""

import itertools
import random
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import sequence_labeling, v1
from seqeval.scheme import IOB2, Entities

from bigjax.data.text.schemes import may_follow
from bigjax.data.text.tags import conlleval_spans, spans
from bigjax.errors import UserError
from bigjax.scores.entities import EntityCounts
from bigjax.scores.metrics import Confusion, Mean

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-creative-work", "I-creative-work")
BARE = ("O", "B", "I")

# Each reading here, and the function that seqeval's scores take in that mode.
READINGS = [
    (spans, partial(v1.precision_recall_fscore_support, scheme=IOB2)),
    (conlleval_spans, sequence_labeling.precision_recall_fscore_support),
]


def random_corpus(rng: random.Random) -> tuple[list[list[str]], list[list[str]]]:
    """Gold and predicted tags, ill-formed more often than not; some empty, some all O."""
    tags = rng.choice([TAGS, TAGS[:3], BARE])
    weights = [rng.choice([1, 5])] + [1] * (len(tags) - 1)
    gold, predicted = [], []
    for _ in range(rng.randint(1, 6)):
        words = rng.choice([0, 1, 2, 5, 12])
        gold.append(rng.choices(tags, weights, k=words))
        copied = rng.random()  # how much of the gold tags the prediction repeats
        other = rng.choices(tags, weights, k=words)
        predicted.append([g if rng.random() < copied else o for g, o in zip(gold[-1], other)])
    return gold, predicted


@st.composite
def corpora(draw):
    tags = draw(st.sampled_from([TAGS, TAGS[:3], BARE, ("O",)]))
    tag = st.sampled_from(tags)
    pairs = draw(st.lists(st.lists(st.tuples(tag, tag), max_size=8), max_size=5))
    return [[g for g, _ in s] for s in pairs], [[p for _, p in s] for s in pairs]


def count_entities(gold, predicted, *, read=spans) -> EntityCounts:
    return EntityCounts.of(gold=gold, predicted=predicted, spans=read)


def assert_equals_seqeval(gold, predicted, *, read, seqeval) -> None:
    scores = count_entities(gold, predicted, read=read).compute()
    seqeval = partial(seqeval, gold, predicted, zero_division=0)

    def row(s):
        return [s["precision"], s["recall"], s["f1"], s["support"]]

    per_type = np.array([row(s) for s in scores["per_type"].values()]).reshape(-1, 4)
    np.testing.assert_allclose(per_type, np.stack(seqeval(average=None), axis=-1), rtol=1e-12)
    np.testing.assert_allclose(row(scores), seqeval(average="micro"), rtol=1e-12)


@pytest.mark.parametrize(("read", "seqeval"), READINGS)
def test_entity_scores_equal_seqeval_on_a_sweep_of_random_tags(read, seqeval):
    rng = random.Random(7)
    for _ in range(3000):
        gold, predicted = random_corpus(rng)
        if any(gold):  # seqeval cannot be asked about a corpus without words
            assert_equals_seqeval(gold, predicted, read=read, seqeval=seqeval)


@pytest.mark.parametrize(("read", "seqeval"), READINGS)
@settings(deadline=None, max_examples=300)
@given(corpus=corpora())
def test_entity_scores_equal_seqeval_on_whatever_hypothesis_finds(read, seqeval, corpus):
    gold, predicted = corpus
    if any(gold):
        assert_equals_seqeval(gold, predicted, read=read, seqeval=seqeval)


def test_spans_and_types_equal_those_of_seqeval():
    rng = random.Random(11)
    for _ in range(3000):
        for tags in random_corpus(rng)[0]:
            strict = [(e.start, e.end, e.tag) for e in Entities([tags], IOB2).entities[0]]
            assert spans(tags) == strict
            lenient = [
                (start, last + 1, kind)
                for kind, start, last in sequence_labeling.get_entities(tags)
            ]
            assert conlleval_spans(tags) == lenient


def test_strict_and_lenient_reading_differ_where_an_inside_tag_begins_an_entity():
    tags = ["O", "I-PER", "I-LOC", "B-LOC", "I-PER"]
    assert spans(tags) == [(3, 4, "LOC")]
    assert conlleval_spans(tags) == [(1, 2, "PER"), (2, 3, "LOC"), (3, 4, "LOC"), (4, 5, "PER")]


def test_tags_that_may_follow_each_other_are_read_alike_by_both():
    rng = random.Random(12)
    legal = 0
    for _ in range(3000):
        for tags in random_corpus(rng)[0]:
            pairs = itertools.pairwise(["O", *tags, "O"])
            alike = all(may_follow(*pair, scheme="iob2") for pair in pairs)
            assert alike == (spans(tags) == conlleval_spans(tags)), tags
            legal += alike
    assert legal > 1000


@pytest.mark.parametrize("tag", ["NN", "IN", "", "b-PER", "S-PER", "B_PER", "O-PER"])
def test_a_tag_that_is_not_iob2_is_named_in_the_error(tag):
    for read in (spans, conlleval_spans):
        with pytest.raises(UserError, match=f"B-TYPE.*{tag!r}"):
            read(["O", tag])


def test_scores_of_no_entities_are_zero_and_perfect_ones_are_one():
    none = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert EntityCounts.empty().compute() == {**none, "per_type": {}}
    assert count_entities([["O", "O"]], [["O", "O"]]).compute() == {**none, "per_type": {}}
    tags = [["B-PER", "I-PER", "O"], ["B-PER"]]
    perfect = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2}
    assert count_entities(tags, tags).compute() == {**perfect, "per_type": {"PER": perfect}}


def test_a_type_that_is_only_predicted_or_only_gold_has_its_own_row():
    per_type = count_entities([["B-PER"]], [["B-LOC"]]).compute()["per_type"]
    assert per_type == {
        "LOC": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
        "PER": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }


@settings(deadline=None)
@given(corpus=corpora(), cuts=st.lists(st.integers(0, 5), max_size=3))
def test_merging_any_partition_of_the_sentences_gives_the_counts_of_the_whole(corpus, cuts):
    gold, predicted = corpus
    bounds = [0, *sorted(cuts), len(gold)]
    merged = EntityCounts.empty()
    for start, end in zip(bounds, bounds[1:]):
        merged = merged.merge(count_entities(gold[start:end], predicted[start:end]))
    assert merged == count_entities(gold, predicted)
    assert merged.compute() == count_entities(gold, predicted).compute()


def test_merging_leaves_both_states_as_they_were():
    one, other = count_entities([["B-PER"]], [["B-PER"]]), count_entities([["B-LOC"]], [["O"]])
    before = (one.compute(), other.compute())
    assert one.merge(other).gold == {"PER": 1, "LOC": 1}
    assert (one.compute(), other.compute()) == before


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="sentence 1 has 2 gold tags and 1 predicted"):
        count_entities([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="shorter"):
        count_entities([["O"], ["O"]], [["O"]])


def test_ten_thousand_sentences_are_scored_in_well_under_a_second():
    rng = random.Random(3)
    gold = [rng.choices(TAGS, [20, 1, 1, 1, 1, 1, 1], k=20) for _ in range(10_000)]
    start = time.process_time()
    count_entities(gold, gold[::-1])
    assert time.process_time() - start < 0.9  # 0.2 here


def test_mean_is_the_mean_of_the_values_under_the_mask_in_any_number_of_parts():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.6
    padded = np.where(mask, values, np.nan).astype(np.float32)
    of = jax.jit(Mean.of)
    for bounds in ([0, 6], [0, 1, 6], [0, 2, 3, 6], [0, 0, 6, 6]):
        state = Mean.empty()
        for start, end in zip(bounds, bounds[1:]):
            state = state.merge(jax.device_get(of(padded[start:end], mask[start:end])))
        np.testing.assert_allclose(state.compute(), values[mask].mean(), rtol=1e-6)
        assert state.count == mask.sum()


def test_mean_of_nothing_is_nan_on_the_host_and_on_the_device():
    assert np.isnan(Mean.empty().compute())
    nothing = Mean.of(jnp.ones(3), jnp.zeros(3, bool))
    assert jnp.isnan(nothing.compute()) and np.isnan(jax.device_get(nothing).compute())


def test_mean_of_bools_is_their_share_and_of_bfloat16_adds_up_in_float32():
    right = Mean.of(jnp.array([True, False, True, True]), jnp.array([True, True, True, False]))
    assert right.compute() == pytest.approx(2 / 3)
    ones = Mean.of(jnp.ones(1000, jnp.bfloat16), jnp.ones(1000, bool))
    assert (ones.total.dtype, float(ones.total)) == (jnp.float32, 1000.0)


def test_mean_can_be_carried_through_a_scan_from_empty():
    def add(state, values):
        return state.merge(Mean.of(values, values > 0)), None

    values = jnp.array([[1.0, -1.0], [2.0, 6.0]])
    state, _ = jax.jit(lambda v: jax.lax.scan(add, Mean.empty(), v))(values)
    assert float(state.compute()) == 3.0


def test_mean_merged_on_the_host_still_counts_beyond_what_float32_can():
    big = Mean(np.float32(2**24), np.int32(2**31 - 1))
    one = Mean(np.float32(1), np.int32(1))
    assert Mean.empty().merge(big).merge(one) == (2**24 + 1, 2**31)


def test_mean_refuses_a_mask_of_another_shape():
    with pytest.raises(ValueError, match=r"values are \(4, 3\) but mask is \(4,\)"):
        Mean.of(jnp.ones((4, 3)), jnp.ones(4, bool))


def test_confusion_counts_pairs_under_the_mask_in_any_number_of_parts():
    rng = np.random.default_rng(1)
    gold, predicted = rng.integers(0, 4, (2, 30, 7))
    mask = rng.random((30, 7)) < 0.7
    expected = np.zeros((4, 4), np.int64)
    for g, p, m in zip(gold.ravel(), predicted.ravel(), mask.ravel()):
        expected[g, p] += m
    gold = np.where(mask, gold, -100)
    for bounds in ([0, 30], [0, 0, 30], [0, 3, 17, 30]):
        state = Confusion.empty()
        for a, b in zip(bounds, bounds[1:]):
            part = Confusion.of(
                gold=gold[a:b], predicted=predicted[a:b], mask=mask[a:b], num_classes=4
            )
            state = state.merge(part)
        np.testing.assert_array_equal(state.compute(), expected)
    np.testing.assert_array_equal(state.merge(Confusion.empty()).compute(), expected)


def test_confusion_refuses_unequal_shapes_and_ids_that_are_no_class():
    with pytest.raises(ValueError, match=r"gold \(2,\), predicted \(3,\), mask \(2,\)"):
        Confusion.of(gold=np.ones(2), predicted=np.ones(3), mask=np.ones(2), num_classes=2)
    with pytest.raises(ValueError, match="predicted id 2, expected 0 to 1"):
        Confusion.of(
            gold=np.array([0]), predicted=np.array([2]), mask=np.array([True]), num_classes=2
        )
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 3\)"):
        Confusion(np.ones((2, 2))).merge(Confusion(np.ones((3, 3))))
