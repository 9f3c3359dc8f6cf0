"""Scores of class probabilities against scikit-learn and plain loops."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from bigjax.scores import class_scores
from bigjax.scores.metrics import Confusion

CLOSE = 1e-12


@st.composite
def classified(draw, *, present=None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, C) and labels (N,), often with ties and classes that are never predicted.

    present: from the number of classes to how many of them have an example; None draws it.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    num_classes, num_examples = draw(st.integers(1, 8)), draw(st.sampled_from([1, 2, 5, 40, 300]))
    num_present = present(num_classes) if present else draw(st.integers(1, num_classes))
    classes = rng.permutation(num_classes)[:num_present]
    labels = rng.choice(classes, size=num_examples)
    labels = np.concatenate([classes, labels]).astype(np.int32)
    logits = rng.normal(size=(len(labels), num_classes))
    logits += draw(st.sampled_from([0, 3])) * (labels[:, None] == np.arange(num_classes))
    steps = draw(st.sampled_from([1, 3, 10, None]))  # few values of the logits make ties
    return class_scores.softmax(np.round(logits * steps) / steps if steps else logits), labels


def confusion(probabilities, labels) -> Confusion:
    return Confusion.of(
        gold=labels,
        predicted=probabilities.argmax(axis=1),
        mask=np.ones(len(labels), bool),
        num_classes=probabilities.shape[1],
    )


@given(classified())
def test_ranking_equals_scikit_learn_class_by_class(drawn):
    probabilities, labels = drawn
    found = class_scores.ranking(probabilities, labels=labels)
    for c in range(probabilities.shape[1]):
        gold, scores = labels == c, probabilities[:, c]
        if gold.all() or not gold.any():
            assert np.isnan(found.roc_auc[c]) and np.isnan(found.average_precision[c])
            continue
        assert found.roc_auc[c] == pytest.approx(sklearn.roc_auc_score(gold, scores), abs=CLOSE)
        expected = sklearn.average_precision_score(gold, scores)
        assert found.average_precision[c] == pytest.approx(expected, abs=CLOSE)


@given(classified(present=int).filter(lambda drawn: drawn[0].shape[1] > 2))
def test_macro_averages_equal_scikit_learn_where_every_class_has_an_example(drawn):
    probabilities, labels = drawn
    num_classes = probabilities.shape[1]
    found = class_scores.ranking(probabilities, labels=labels)
    auc = sklearn.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert class_scores.macro(found.roc_auc) == pytest.approx(auc, abs=CLOSE)
    one_hot = labels[:, None] == np.arange(num_classes)
    precision = sklearn.average_precision_score(one_hot, probabilities, average="macro")
    assert class_scores.macro(found.average_precision) == pytest.approx(precision, abs=CLOSE)


def test_a_tie_counts_half_and_a_class_without_rivals_is_left_out_of_the_mean():
    labels = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.6, 0.4, 0], [0.6, 0.4, 0], [0.1, 0.9, 0], [0.9, 0.1, 0]])
    found = class_scores.ranking(probabilities, labels=labels)
    # Of the four pairs three are ranked rightly and one is a tie; the third class has no example.
    assert found.roc_auc.tolist()[:2] == [3.5 / 4, 3.5 / 4] and np.isnan(found.roc_auc[2])
    assert class_scores.macro(found.roc_auc) == 3.5 / 4
    assert np.isnan(class_scores.macro(np.array([np.nan])))


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(classified())
def test_precision_recall_and_f1_equal_scikit_learn(drawn):
    probabilities, labels = drawn
    predicted, classes = probabilities.argmax(axis=1), range(probabilities.shape[1])
    counts = confusion(probabilities, labels)
    matrix = sklearn.confusion_matrix(labels, predicted, labels=classes)
    np.testing.assert_array_equal(counts.compute(), matrix)

    found = class_scores.per_class(counts)
    *expected, support = sklearn.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    seen = np.isin(classes, [*labels, *predicted])
    assert found.support.tolist() == support.tolist()
    for mine, theirs in zip(found, expected):
        np.testing.assert_allclose(mine[seen], theirs[seen], rtol=0, atol=CLOSE)
        assert np.isnan(mine[~seen]).all()
    averages = sklearn.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    assert [class_scores.macro(of) for of in found[:3]] == pytest.approx(averages[:3], abs=CLOSE)


@given(classified(), st.integers(1, 8))
def test_top_k_accuracy_equals_scikit_learn(drawn, k):
    probabilities, labels = drawn
    num_classes = probabilities.shape[1]
    found = class_scores.top_k_accuracy(probabilities, labels=labels, k=k)
    if k >= num_classes:
        assert found == 1.0
    elif num_classes > 2:  # scikit-learn takes two classes for one score and a threshold
        expected = sklearn.top_k_accuracy_score(
            labels, probabilities, k=k, labels=range(num_classes)
        )
        assert found == pytest.approx(expected, abs=CLOSE)


def test_equally_probable_classes_count_from_the_last():
    probabilities = np.full((4, 4), 0.25)
    shares = [
        class_scores.top_k_accuracy(probabilities, labels=np.arange(4), k=k) for k in range(1, 5)
    ]
    assert shares == [0.25, 0.5, 0.75, 1.0]
    last = class_scores.top_k_accuracy(probabilities[:1], labels=np.array([3]), k=1)
    assert last == 1.0


def slow_calibration(probabilities, labels) -> tuple[float, list[tuple]]:
    edges, bins, error = np.linspace(0, 1, 16), [], 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = [
            (max(row), float(np.argmax(row) == label))
            for row, label in zip(probabilities.tolist(), labels)
            if low < max(row) <= high
        ]
        bins.append((len(inside), *(np.mean(inside, axis=0) if inside else (np.nan, np.nan))))
        if inside:
            error += len(inside) / len(labels) * abs(bins[-1][2] - bins[-1][1])
    return error, bins


@given(classified())
def test_calibration_equals_a_loop_over_bins(drawn):
    probabilities, labels = drawn
    found = class_scores.calibration(probabilities, labels=labels)
    error, bins = slow_calibration(probabilities, labels)
    assert found.error == pytest.approx(error, abs=CLOSE)
    assert found.counts.sum() == len(labels)
    np.testing.assert_allclose(np.transpose(found[1:]), bins, rtol=0, atol=CLOSE)


def test_an_edge_belongs_to_the_bin_below_it():
    edge = np.linspace(0, 1, 16)[10]
    probabilities = np.array([[edge, 1 - edge], [np.nextafter(edge, 1), 1 - edge], [1.0, 0.0]])
    counts = class_scores.calibration(probabilities, labels=np.zeros(3, int)).counts
    assert np.flatnonzero(counts).tolist() == [9, 10, 14]


def test_a_sure_and_right_model_is_calibrated_and_a_sure_and_wrong_one_is_not():
    probabilities = np.eye(3)
    assert class_scores.calibration(probabilities, labels=np.arange(3)).error == 0
    assert class_scores.calibration(probabilities, labels=np.array([1, 2, 0])).error == 1


@given(classified(), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_changes_nothing(drawn, random):
    probabilities, labels = drawn
    order = random.sample(range(len(labels)), len(labels))
    before, after = (
        [*class_scores.ranking(p, labels=y), *class_scores.calibration(p, labels=y)]
        for p, y in ((probabilities, labels), (probabilities[order], labels[order]))
    )
    for mine, theirs in zip(before, after):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=CLOSE)


def test_softmax_is_exact_for_logits_of_any_size():
    logits = np.array([[1e4, 0.0], [-1e4, -1e4], [np.log(3), 0.0], [-np.inf, 2.0]], np.float32)
    expected = [[1, 0], [0.5, 0.5], [0.75, 0.25], [0, 1]]
    found = class_scores.softmax(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    assert np.isnan(class_scores.softmax(np.array([[np.nan, 0.0], [np.inf, 0.0]]))).all()


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((2, 2)), np.zeros(3, int), r"probabilities \(2, 2\) and labels \(3,\)"),
        (np.ones(2), np.zeros(2, int), r"expected probabilities \(N, C\)"),
        (np.ones((0, 2)), np.zeros(0, int), "N > 0"),
        (np.ones((1, 2)), np.array([2]), "label 2, expected 0 to 1"),
        (np.ones((1, 2)), np.array([-1]), "label -1, expected 0 to 1"),
        (np.array([[np.nan, 1.0]]), np.array([0]), "not all finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(probabilities, labels, message):
    for score in (
        class_scores.ranking,
        class_scores.calibration,
        lambda p, labels: class_scores.top_k_accuracy(p, labels=labels, k=1),
    ):
        with pytest.raises(ValueError, match=message):
            score(probabilities, labels=labels)


def test_ten_thousand_examples_of_ten_classes_take_well_under_a_second():
    rng = np.random.default_rng(0)
    probabilities = class_scores.softmax(rng.normal(size=(10_000, 10)))
    labels = rng.integers(10, size=10_000)
    start = time.process_time()
    class_scores.ranking(probabilities, labels=labels)
    class_scores.calibration(probabilities, labels=labels)
    class_scores.top_k_accuracy(probabilities, labels=labels, k=5)
    class_scores.per_class(confusion(probabilities, labels))
    assert time.process_time() - start < 1
