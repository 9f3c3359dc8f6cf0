"""The order of examples: every one once in an epoch, whoever asks, and never another."""

import concurrent.futures
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigjax.data import shuffling
from bigjax.errors import UserError

GOLDEN_ORDER = [96, 462, 288, 477, 101]
GOLDEN_SHA256 = "b207c1ca384276fbd8a3473cef7142ef918d553aa290923ae73da49c1024aa99"


@given(st.integers(1, 60), st.integers(0, 2**40), st.integers(0, 10**6))
def test_every_epoch_holds_every_example_once_in_an_order_of_its_own(num_examples, seed, epoch):
    numbers = np.arange(epoch * num_examples, (epoch + 2) * num_examples)
    found = shuffling.shuffled(num_examples, seed=seed)(numbers)
    assert found.dtype == np.int64
    first, second = found[:num_examples].tolist(), found[num_examples:].tolist()
    assert sorted(first) == sorted(second) == list(range(num_examples))
    assert num_examples < 20 or first != second
    # The raw numbers of Philox, in the order of their size.
    stream = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(num_examples)
    assert first == sorted(range(num_examples), key=lambda i: stream[i])


@given(st.integers(1, 30), st.lists(st.integers(0, 500), max_size=50))
def test_an_example_does_not_depend_on_the_numbers_asked_for_before_or_beside_it(
    num_examples, numbers
):
    stream = shuffling.shuffled(num_examples, seed=1)
    together = stream(np.array(numbers, np.int64))
    alone = [int(shuffling.shuffled(num_examples, seed=1)(np.array([n]))[0]) for n in numbers]
    assert together.tolist() == alone == [int(stream(np.array([n]))[0]) for n in numbers]


def test_many_threads_may_ask_for_different_epochs_at_once():
    stream = shuffling.shuffled(1000, seed=0)
    wanted = [np.random.default_rng(i).integers(0, 50_000, 200) for i in range(40)]
    expected = [stream(numbers) for numbers in wanted]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for found, other in zip(pool.map(stream, wanted), expected):
            np.testing.assert_array_equal(found, other)


def test_seeds_have_different_orders_and_an_order_never_changes():
    numbers = np.r_[0:500, 38500:39000]
    orders = [shuffling.shuffled(500, seed=seed)(numbers).tolist() for seed in range(6)]
    assert len({str(order) for order in orders}) == 6
    assert orders[5][:5] == GOLDEN_ORDER
    assert hashlib.sha256(str(orders[5]).encode()).hexdigest() == GOLDEN_SHA256


def test_nothing_to_shuffle_and_a_negative_seed_are_errors_of_the_user():
    with pytest.raises(UserError, match="seed=-1: expected 0 or more"):
        shuffling.shuffled(3, seed=-1)
    with pytest.raises(UserError, match="the data set is empty"):
        shuffling.shuffled(0, seed=0)
