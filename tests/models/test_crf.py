"""The CRF's likelihood in packed rows: compared with all sequences one by one, also of a window
whose neighbours are held fast, and its gradient with that of this comparison."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigjax.models import crf
from bigjax.tasks.token_tagging import decoding

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
T = len(TAGS)
ALLOWED = decoding.allowed(TAGS)
TOLERANCE = 2e-5


def by_brute_force(logits_NT, scores_ST, gold, *, before=0, after=0):
    """-log p of the gold tags between their neighbours (1 + a tag, 0 for a sentence's edge), from
    every legal sequence."""

    def steps(path):
        first = (before - 1 if before else T, path[0])
        last = (path[-1], after - 1) if after else (T + 1, path[-1])
        return [first, *itertools.pairwise(path), last]

    def weights(paths):
        pairs = np.array([steps(path) for path in paths])
        emitted = logits_NT[np.arange(len(gold)), np.array(paths)]
        return scores_ST[pairs[..., 0], pairs[..., 1]].sum(1) + emitted.sum(1)

    paths = itertools.product(range(T), repeat=len(gold))
    every = [path for path in paths if all(ALLOWED[step] for step in steps(path))]
    return jax.nn.logsumexp(weights(every)) - weights([tuple(gold)])[0]


# A packed row: of each segment its words' gold tags, and the neighbours in other windows.
SEGMENTS = (((0, 1, 2), 0, 0), ((2, 2), 2, 3), ((), 0, 0), ((3,), 0, 5), ((0, 0, 1), 5, 0))


def packed(segments, *, length=24, seed=0):
    """The arrays of one row, some of whose places, also those of sub-words, label nothing."""
    rng, at = np.random.default_rng(seed), 0
    names = ("labels", "segments", "before", "after")
    row = {name: np.zeros(length, np.int32) for name in names} | {"mask": np.zeros(length, bool)}
    for number, (gold, before, after) in enumerate(segments, 1):
        begin = at
        at += 1  # [CLS]
        for i, tag in enumerate(gold):
            row["labels"][at], row["mask"][at] = tag, True
            row["before"][at] = before if i == 0 else gold[i - 1] + 1
            row["after"][at] = after if i == len(gold) - 1 else gold[i + 1] + 1
            at += int(rng.integers(1, 3))
        row["segments"][begin : at + 1] = number
        at += 1  # [SEP]
    assert at <= length
    return row


@pytest.fixture(scope="module")
def rows():
    """Two packed rows and one of nothing, in which what labels nothing holds large numbers."""
    made = [packed(SEGMENTS), packed(SEGMENTS[::-1], seed=1), packed(())]
    return {name: np.stack([row[name] for row in made]) for name in made[0]}


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 24, T)).astype(np.float32)
    return logits, rng.normal(size=(T + 2, T)).astype(np.float32)


def summed(logits, scores_ST, rows):
    scores_BST = jnp.broadcast_to(scores_ST[None], (len(logits), *scores_ST.shape))
    given = {f"{name}_BL": jnp.asarray(value) for name, value in rows.items()}
    likelihood = functools.partial(crf.negative_log_likelihood, allowed_ST=ALLOWED)
    return likelihood(logits, scores_BST=scores_BST, **given).sum()


def expected(logits, scores_ST, rows):
    """The same from brute force, segment by segment."""
    total = 0.0
    for b, segments in enumerate(rows["segments"]):
        for number in range(1, segments.max() + 1):
            (places,) = np.nonzero((segments == number) & rows["mask"][b])
            if len(places):
                total += by_brute_force(
                    logits[b, places],
                    scores_ST,
                    rows["labels"][b, places],
                    before=rows["before"][b, places[0]],
                    after=rows["after"][b, places[-1]],
                )
    return total


def test_the_likelihood_and_its_gradient_are_those_of_all_sequences(rows, scores):
    both = lambda of: jax.jit(jax.value_and_grad(functools.partial(of, rows=rows), (0, 1)))  # noqa: E731
    found, wanted = both(summed)(*scores), both(expected)(*scores)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE, rtol=TOLERANCE)
    assert not np.any(np.asarray(found[1][0])[~rows["mask"]])  # what labels nothing counts nowhere
    assert not np.any(np.asarray(found[1][1])[~ALLOWED])


def test_segments_of_a_row_do_not_see_each_other(rows, scores):
    """Each alone in a row of its own: the same sum."""
    logits, scores_ST = scores
    alone, one = 0.0, jax.jit(summed)
    for b, segments in enumerate(rows["segments"]):
        for number in range(1, segments.max() + 1):
            own = segments == number
            row = {name: np.where(own, value[b], 0)[None] for name, value in rows.items()}
            row["segments"] = own[None].astype(np.int32)
            row["mask"] = row["mask"].astype(bool)
            alone += one(logits[b : b + 1], scores_ST, row)
    np.testing.assert_allclose(summed(logits, scores_ST, rows), alone, rtol=TOLERANCE)


def test_large_scores_and_forbidden_neighbours_give_no_nan(rows, scores):
    logits, scores_ST = (500 * x for x in scores)
    both = jax.jit(jax.value_and_grad(functools.partial(summed, rows=rows), (0, 1)))
    value, grads = both(logits, scores_ST)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in grads)


def test_the_host_finds_the_same_loss_of_a_whole_sentence(scores):
    logits, scores_ST = scores
    row = {name: x[None] for name, x in packed([((0, 1, 2, 0, 3), 0, 0)]).items()}
    places = row["mask"][0]
    of_host = decoding.losses(
        logits[0, places],
        np.array([0, 5]),
        row["labels"][0, places],
        transitions=scores_ST,
        tags=TAGS,
    )
    np.testing.assert_allclose(summed(logits[:1], scores_ST, row), of_host[0], rtol=TOLERANCE)
