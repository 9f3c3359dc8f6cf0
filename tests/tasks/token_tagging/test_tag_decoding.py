"""What scores of tags come to: the best legal sequence, marginals, entities, likelihoods; each
compared with all sequences one by one."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bigjax.data.text import tags as iob2
from bigjax.tasks.token_tagging import decoding

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
PLAIN = ("ADJ", "NOUN", "VERB")
TOLERANCE = 1e-9
LENGTHS = (3, 1, 5, 0, 4, 2, 5)
OFFSETS = np.r_[0, np.cumsum(LENGTHS)]


def drawn(seed: int, *, tags=TAGS, learned: bool):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(OFFSETS[-1], len(tags))).astype(np.float32)
    transitions = rng.normal(size=(len(tags) + 2, len(tags))).astype(np.float32)
    return logits, transitions if learned else None


def sequences(logits, transitions, *, tags):
    """Every legal sequence of a sentence, and the log of its weight."""
    allowed, num = decoding.allowed(tags), len(tags)
    learned = np.zeros(allowed.shape) if transitions is None else transitions.astype(np.float64)
    emissions = logits.astype(np.float64)
    for path in itertools.product(range(num), repeat=len(logits)):
        steps = [(num, path[0]), *itertools.pairwise(path), (num + 1, path[-1])]
        if all(allowed[step] for step in steps):
            weight = sum(learned[step] for step in steps)
            yield path, weight + sum(emissions[i, tag] for i, tag in enumerate(path))


def each_sentence(logits, transitions, *, tags):
    for begin, end in itertools.pairwise(OFFSETS):
        if end > begin:
            paths, weights = zip(*sequences(logits[begin:end], transitions, tags=tags))
            weights = np.exp(np.array(weights) - max(weights))
            yield slice(begin, end), np.array(paths), weights / weights.sum()


@pytest.mark.parametrize("tags", [TAGS, PLAIN, ("O", "B", "I")])
@pytest.mark.parametrize("learned", [False, True])
def test_viterbi_finds_the_best_of_all_legal_sequences(tags, learned):
    for seed in range(5):
        logits, transitions = drawn(seed, tags=tags, learned=learned)
        given = {"transitions": transitions, "tags": tags}
        found = decoding.decode(logits, OFFSETS, **given, kind="viterbi")
        for words, paths, shares in each_sentence(logits, transitions, tags=tags):
            np.testing.assert_array_equal(found[words], paths[shares.argmax()])


@pytest.mark.parametrize("tags", [TAGS, PLAIN])
def test_argmax_takes_each_word_alone_by_its_softmax_or_its_marginal(tags):
    logits, transitions = drawn(0, tags=tags, learned=True)
    found = decoding.decode(logits, OFFSETS, transitions=None, tags=tags, kind="argmax")
    np.testing.assert_array_equal(found, logits.argmax(axis=1))
    found = decoding.decode(logits, OFFSETS, transitions=transitions, tags=tags, kind="argmax")
    for words, paths, shares in each_sentence(logits, transitions, tags=tags):
        marginals = [np.bincount(column, weights=shares) for column in paths.T]
        np.testing.assert_array_equal(found[words], [np.argmax(m) for m in marginals])


@pytest.mark.parametrize("kind", ["argmax", "viterbi"])
def test_an_entity_of_a_crf_has_the_share_of_the_sequences_that_hold_exactly_it(kind):
    num_found = 0
    for seed in range(8):
        logits, transitions = drawn(seed, learned=True)
        given = {"transitions": transitions, "tags": TAGS}
        predicted = decoding.decode(logits, OFFSETS, **given, kind=kind)
        found = decoding.entity_scores(logits, OFFSETS, predicted, **given, how="product")
        nonempty = [entities for entities, length in zip(found, LENGTHS) if length]
        for entities, (words, paths, shares) in zip(
            nonempty, each_sentence(logits, transitions, tags=TAGS), strict=True
        ):
            spans = [set(iob2.spans([TAGS[tag] for tag in path])) for path in paths]
            assert [entity[:3] for entity in entities] == iob2.spans(
                [TAGS[tag] for tag in predicted[words]]
            )
            for *span, score in entities:
                expected = sum(share for share, of in zip(shares, spans) if tuple(span) in of)
                assert score == pytest.approx(expected, abs=TOLERANCE)
                num_found += 1
    assert num_found > 40


@pytest.mark.parametrize(("how", "together"), [("product", np.prod), ("minimum", np.min)])
def test_an_entity_of_a_linear_head_is_as_sure_as_its_words(how, together):
    logits, _ = drawn(1, learned=False)
    given = {"transitions": None, "tags": TAGS}
    predicted = decoding.decode(logits, OFFSETS, **given, kind="viterbi")
    found = decoding.entity_scores(logits, OFFSETS, predicted, **given, how=how)
    assert sum(map(len, found)) > 5 and max(e.end - e.start for of in found for e in of) > 1
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for begin, length, entities in zip(OFFSETS, LENGTHS, found):
        named = [TAGS[tag] for tag in predicted[begin : begin + length]]
        assert [entity[:3] for entity in entities] == iob2.spans(named)
        for start, end, _, score in entities:
            words = np.arange(begin + start, begin + end)
            assert score == pytest.approx(together(shares[words, predicted[words]]), rel=1e-5)


@pytest.mark.parametrize("learned", [False, True])
def test_losses_are_of_the_gold_tags_of_each_sentence(learned):
    logits, transitions = drawn(2, tags=PLAIN, learned=learned)
    gold = np.random.default_rng(0).integers(0, len(PLAIN), len(logits))
    found = decoding.losses(logits, OFFSETS, gold, transitions=transitions, tags=PLAIN)
    assert found[LENGTHS.index(0)] == 0
    nonempty = found[np.array(LENGTHS) > 0]
    of_all = each_sentence(logits, transitions, tags=PLAIN)
    for loss, (words, paths, shares) in zip(nonempty, of_all, strict=True):
        share = shares[(paths == gold[words]).all(axis=1)]
        assert loss == pytest.approx(-np.log(share.item()), abs=1e-6)


@hypothesis.given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    seed=st.integers(0, 2**20),
    size=st.sampled_from([0.0, 1.0, 300.0, 1e4]),
    learned=st.booleans(),
)
def test_what_viterbi_finds_is_legal_whatever_the_scores(lengths, seed, size, learned):
    rng = np.random.default_rng(seed)
    offsets = np.r_[0, np.cumsum(lengths)]
    logits = (size * rng.normal(size=(offsets[-1], len(TAGS)))).astype(np.float32)
    transitions = 10 * rng.normal(size=(len(TAGS) + 2, len(TAGS))) if learned else None
    given = {"transitions": transitions, "tags": TAGS}
    found = decoding.decode(logits, offsets, **given, kind="viterbi")
    for begin, end in itertools.pairwise(offsets):
        named = [TAGS[tag] for tag in found[begin:end]]
        assert iob2.spans(named) == iob2.conlleval_spans(named)
    entities = decoding.entity_scores(logits, offsets, found, **given, how="product")
    assert all(0 <= entity.score <= 1 for of in entities for entity in of)
    assert len(entities) == len(lengths)


def test_what_is_found_does_not_depend_on_the_other_sentences(monkeypatch):
    """Nor on how many are computed at once; here also longer than a group may be."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 40, 50)
    offsets = np.r_[0, np.cumsum(lengths)]
    logits = 3 * rng.normal(size=(offsets[-1], len(TAGS)))
    transitions = rng.normal(size=(len(TAGS) + 2, len(TAGS)))
    for learned in (None, transitions):
        given = {"transitions": learned, "tags": TAGS}
        together = decoding.decode(logits, offsets, **given, kind="viterbi")
        scores = decoding.entity_scores(logits, offsets, together, **given, how="product")
        with monkeypatch.context() as patch:
            patch.setattr(decoding, "_CELLS", 300)
            assert np.array_equal(
                together, decoding.decode(logits, offsets, **given, kind="viterbi")
            )
            again = decoding.entity_scores(logits, offsets, together, **given, how="product")
        assert [e for of in scores for e in of] == [
            e._replace(score=pytest.approx(e.score, rel=TOLERANCE)) for of in again for e in of
        ]


def test_of_equals_the_first_tag_is_taken():
    logits = np.zeros((4, len(TAGS)), np.float32)
    for transitions in (None, np.zeros((len(TAGS) + 2, len(TAGS)))):
        given = {"transitions": transitions, "tags": TAGS}
        found = decoding.decode(logits, np.array([0, 4]), **given, kind="viterbi")
        assert found.tolist() == [0] * 4


def test_a_sentence_of_ten_thousand_words_is_decoded():
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(10_000, len(TAGS))).astype(np.float32)
    transitions = rng.normal(size=(len(TAGS) + 2, len(TAGS)))
    given = {"transitions": transitions, "tags": TAGS}
    found = decoding.decode(logits, np.array([0, 10_000]), **given, kind="viterbi")
    (entities,) = decoding.entity_scores(
        logits, np.array([0, 10_000]), found, **given, how="product"
    )
    named = [TAGS[tag] for tag in found]
    assert [entity[:3] for entity in entities] == iob2.spans(named) == iob2.conlleval_spans(named)


def test_where_a_type_has_no_b_its_i_may_stand_anywhere():
    """As in models of elsewhere, whose tags say no more than the type."""
    tags = ("O", "I-LOC", "I-PER")
    assert decoding.allowed(tags).all()
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 2, 0]]
    given = {"transitions": None, "tags": tags}
    found = decoding.decode(logits, np.array([0, 5]), **given, kind="viterbi")
    (entities,) = decoding.entity_scores(logits, np.array([0, 5]), found, **given, how="minimum")
    assert [entity[:3] for entity in entities] == [(1, 3, "LOC"), (3, 4, "PER")]


def test_plain_tags_have_no_entities_and_no_forbidden_neighbours():
    assert decoding.allowed(PLAIN).all()
    logits, _ = drawn(0, tags=PLAIN, learned=False)
    given = {"transitions": None, "tags": PLAIN}
    found = decoding.decode(logits, OFFSETS, **given, kind="viterbi")
    np.testing.assert_array_equal(found, logits.argmax(axis=1))
    entities = decoding.entity_scores(logits, OFFSETS, found, **given, how="product")
    assert entities == [[]] * len(LENGTHS)
