"""Packing: nothing lost, nothing twice, full rows, and an order that is known in advance and that
favours no length."""

import hashlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bigjax.data.text import packing, tfds_text, tokenization, windowing
from bigjax.errors import UserError

LENGTHS_OF_A_ROW = st.integers(1, 24)
GOLDEN_NUM_ROWS = 253
GOLDEN_FIRST_ROWS = [[71, 230], [431, 349]]
GOLDEN_SHA256 = "5447f1348a3efde2f73cb92fb9867e86baca2ba94f1743297f976b29ec75abde"


def log_normal_lengths(number: int, *, row_length: int) -> np.ndarray:
    """Lengths like those of WikiANN's sentences: a median of 12 tokens and a long tail."""
    draw = np.random.default_rng(0).lognormal(mean=2.3, sigma=0.6, size=number)
    return np.clip(np.round(draw), 1, row_length - 2).astype(np.int64) + 2


def epoch_of(packed: packing.Packing, *, seed: int, epoch: int) -> list[list[int]]:
    first = epoch * packed.num_rows
    rows = packing.epochs(packed, seed=seed)(np.arange(first, first + packed.num_rows))
    return [row.tolist() for row in rows]


def assert_is_a_packing(rows: list[list[int]], *, lengths: np.ndarray, row_length: int) -> None:
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert max(sum(int(lengths[i]) for i in row) for row in rows) <= row_length
    assert all(rows), "an empty row"


@given(st.data(), LENGTHS_OF_A_ROW, st.integers(0, 2**40), st.integers(0, 1000))
def test_every_epoch_holds_every_example_once_in_rows_that_are_not_overfull(
    data, row_length, seed, epoch
):
    lengths = np.array(data.draw(st.lists(st.integers(1, row_length), min_size=1, max_size=200)))
    packed = packing.plan(lengths, row_length=row_length)
    rows = epoch_of(packed, seed=seed, epoch=epoch)
    assert_is_a_packing(rows, lengths=lengths, row_length=row_length)
    once = [row.tolist() for row in packing.once(packed)(np.arange(packed.num_rows))]
    assert_is_a_packing(once, lengths=lengths, row_length=row_length)
    assert packed.fill == pytest.approx(lengths.sum() / (len(rows) * row_length), rel=1e-12)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=80) | st.lists(st.integers(1, 12), min_size=9),
    st.integers(1, 10),
    st.integers(0, 5),
)
@example([1, 1, 1, 2, 3, 3, 3, 3, 3], 2, 0)
def test_a_large_set_that_is_planned_in_blocks_loses_nothing_either(lengths, block_size, epoch):
    lengths = np.array(lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "BLOCK_SIZE", block_size)
        packed = packing.plan(lengths, row_length=12)
    rows = epoch_of(packed, seed=1, epoch=epoch)
    assert_is_a_packing(rows, lengths=lengths, row_length=12)


def test_blocks_cost_little_of_the_fill(monkeypatch):
    lengths = log_normal_lengths(40_000, row_length=64)
    whole = packing.plan(lengths, row_length=64).fill
    monkeypatch.setattr(packing, "BLOCK_SIZE", 8192)
    assert packing.plan(lengths, row_length=64).fill > whole - 0.01


@pytest.mark.parametrize(
    ("lengths", "num_rows"),
    [([7], 1), ([10] * 9, 9), ([5] * 9, 5), ([1] * 95, 10), ([6] * 4, 4), ([7, 3, 7, 3], 2)],
    ids=["one example", "all fill a row", "pairs", "ones", "no two fit", "sevens and threes"],
)
def test_small_cases_take_the_fewest_rows(lengths, num_rows):
    packed = packing.plan(np.array(lengths), row_length=10)
    assert packed.num_rows == num_rows
    for epoch in range(3):
        rows = epoch_of(packed, seed=0, epoch=epoch)
        assert_is_a_packing(rows, lengths=np.array(lengths), row_length=10)


def test_no_example_at_all_is_an_error_of_the_user():
    with pytest.raises(UserError, match="the data set is empty"):
        packing.plan(np.zeros(0, int), row_length=10)


def test_a_negative_seed_is_an_error_of_the_user():
    with pytest.raises(UserError, match="seed=-1: expected 0 or more"):
        packing.epochs(packing.plan(np.array([1]), row_length=10), seed=-1)


# --- order ---


def test_epochs_and_seeds_differ_and_the_same_ones_agree():
    packed = packing.plan(log_normal_lengths(300, row_length=32), row_length=32)
    orders = {(s, e): epoch_of(packed, seed=s, epoch=e) for s in (0, 1) for e in (0, 1, 2)}
    assert len({str(order) for order in orders.values()}) == len(orders)
    assert all(epoch_of(packed, seed=s, epoch=e) == order for (s, e), order in orders.items())
    # Not only the rows are visited in another order: other examples share them.
    shared = [{frozenset(row) for row in orders[0, epoch]} for epoch in (0, 1)]
    assert len(shared[0] & shared[1]) < packed.num_rows / 2


def test_a_row_does_not_depend_on_which_rows_were_asked_for_before_or_beside_it():
    packed = packing.plan(log_normal_lengths(200, row_length=32), row_length=32)
    straight = [row for epoch in range(4) for row in epoch_of(packed, seed=3, epoch=epoch)]
    stream = packing.epochs(packed, seed=3)
    numbers = np.random.default_rng(0).permutation(len(straight))
    one_by_one = {n: stream(np.array([n]))[0].tolist() for n in numbers.tolist()}
    assert [one_by_one[n] for n in range(len(straight))] == straight
    # As two processes would ask: the even rows of a batch, then the odd ones.
    for start in (0, packed.num_rows - 5, 2 * packed.num_rows - 1):  # the last two straddle epochs
        even, odd = np.arange(start, start + 10, 2), np.arange(start + 1, start + 10, 2)
        found = dict(zip([*even, *odd], [*stream(even), *packing.epochs(packed, seed=3)(odd)]))
        assert [found[n].tolist() for n in range(start, start + 10)] == straight[start : start + 10]


def test_one_pass_ends_in_empty_rows():
    packed = packing.plan(np.array([4, 4, 4]), row_length=8)
    rows = packing.once(packed)(np.arange(5))
    assert [len(row) for row in rows[packed.num_rows :]] == [0, 0, 0]
    assert sorted(np.concatenate(rows).tolist()) == [0, 1, 2]


def test_the_order_never_changes_or_runs_of_older_versions_could_not_be_resumed():
    lengths = np.arange(500) * 7919 % 30 + 1
    packed = packing.plan(lengths, row_length=32)
    rows = [row for epoch in (0, 1, 77) for row in epoch_of(packed, seed=5, epoch=epoch)]
    assert packed.num_rows == GOLDEN_NUM_ROWS
    assert rows[:2] == GOLDEN_FIRST_ROWS
    assert hashlib.sha256(str(rows).encode()).hexdigest() == GOLDEN_SHA256


# --- fill ---


@pytest.mark.parametrize("row_length", [64, 128, 512])
def test_rows_are_97_percent_full_on_log_normal_lengths(row_length):
    lengths = log_normal_lengths(20_000, row_length=row_length)
    assert packing.plan(lengths, row_length=row_length).fill > 0.97


def test_rows_of_64_are_97_percent_full_on_wikiann(shared_data, minilm):
    pytest.importorskip("tensorflow_datasets", reason="needs pip install 'bigjax[tfds]'")
    splits = tfds_text.read("wikiann/en", data_dir=shared_data / "tfds")
    tokenizer = tokenization.load_tokenizer(minilm)
    for sentences in splits.values():
        windows = windowing.make_windows(sentences.words, tokenizer=tokenizer, row_length=64)
        assert packing.plan(windows.lengths, row_length=64).fill > 0.97, sentences.where


# --- no bias by length ---


def test_the_lengths_in_a_batch_depend_neither_on_its_place_nor_on_the_packing():
    """Compared with batches that are dealt at random, with as many examples each."""
    lengths = log_normal_lengths(20_000, row_length=64)
    packed = packing.plan(lengths, row_length=64)
    shuffled = lengths[np.random.default_rng(1).permutation(len(lengths))]
    rows_a_batch = 8
    num_batches = packed.num_rows // rows_a_batch
    for epoch in range(3):
        rows = epoch_of(packed, seed=2, epoch=epoch)
        batches = [
            lengths[sum(rows[i * rows_a_batch : (i + 1) * rows_a_batch], [])]
            for i in range(num_batches)
        ]
        ends = np.cumsum([len(batch) for batch in batches])
        means = np.array([batch.mean() for batch in batches])
        random_means = np.array([b.mean() for b in np.split(shuffled, ends)[:num_batches]])
        # 4.5 standard errors of a correlation of nothing, and of the mean of a tenth.
        correlation = np.corrcoef(means, np.arange(num_batches))[0, 1]
        assert abs(correlation) < 4.5 / np.sqrt(num_batches)
        tenth = num_batches // 10
        apart = means[:tenth].mean() - means[-tenth:].mean()
        assert abs(apart) < 4.5 * means.std() * np.sqrt(2 / tenth)
        assert means.var() < 1.5 * random_means.var()


def test_the_first_and_the_last_batch_of_an_epoch_have_the_same_lengths_in_the_long_run():
    lengths = log_normal_lengths(400, row_length=32)
    packed = packing.plan(lengths, row_length=32)
    rows_a_batch, num_epochs = 4, 2000
    stream = packing.epochs(packed, seed=0)
    first, last = [], []
    for epoch in range(num_epochs):
        begin, end = epoch * packed.num_rows, (epoch + 1) * packed.num_rows
        first.append(lengths[np.concatenate(stream(np.arange(begin, begin + rows_a_batch)))])
        last.append(lengths[np.concatenate(stream(np.arange(end - rows_a_batch, end)))])
    first, last = np.concatenate(first), np.concatenate(last)
    bins = np.arange(0, 36, 4)
    expected = np.histogram(lengths, bins)[0] / len(lengths)
    for found in (first, last):
        assert abs(found.mean() - lengths.mean()) < 4.5 * lengths.std() / np.sqrt(len(found))
        shares = np.histogram(found, bins)[0] / len(found)
        errors = np.sqrt(expected * (1 - expected) / len(found))
        assert (np.abs(shares - expected) <= 4.5 * errors).all()
