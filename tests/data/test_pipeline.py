"""Batches by number, whoever asks for which rows of them, and the thread that prepares them."""

import threading
import time

import numpy as np
import pytest

from bigjax.config import sections
from bigjax.data import pipeline
from bigjax.data.dataset import Dataset, rows_a_batch
from bigjax.data.text import packing, tokenization, windowing
from bigjax.errors import UserError

ROW_LENGTH, BATCH_ROWS = 16, 4


@pytest.fixture(scope="module")
def dataset(tiny_bert) -> Dataset:
    """Thirty packed sentences, in batches of four rows."""
    sentences = [["John", "saw", "Berlin", "."][: 1 + i % 4] for i in range(30)]
    tokenizer = tokenization.load_tokenizer(tiny_bert)
    windows = windowing.make_windows(sentences, tokenizer=tokenizer, row_length=ROW_LENGTH)
    packed = packing.plan(windows.lengths, row_length=ROW_LENGTH)
    stream = packing.epochs(packed, seed=0)

    def rows(numbers: np.ndarray) -> dict[str, np.ndarray]:
        filled = windowing.fill_rows(windows, stream(numbers), row_length=ROW_LENGTH)
        return filled | {"mask": filled["words"] >= 0}

    return Dataset(
        rows=rows,
        examples=stream,
        batch_rows=BATCH_ROWS,
        num_rows=packed.num_rows,
        num_examples=len(sentences),
        fill=packed.fill,
        fingerprint="",
    )


def assert_equal(found: dict, expected: dict) -> None:
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert array.dtype == expected[name].dtype, name


# --- batches ---


def test_batch_s_is_rows_s_times_its_size_and_on_of_the_stream(dataset):
    for step in (0, 1, 7, 1000):
        batch = pipeline.global_batch(dataset, step=step, rows=np.arange(BATCH_ROWS))
        expected = dataset.rows(step * BATCH_ROWS + np.arange(BATCH_ROWS))
        assert_equal(batch, expected | {"row": np.arange(BATCH_ROWS, dtype=np.int32)})


def test_a_batch_does_not_depend_on_the_batches_before_it_or_on_how_processes_share_it(dataset):
    # Batches that straddle epochs are among them: the rows of an epoch do not divide by four.
    assert dataset.num_rows % BATCH_ROWS
    every = np.arange(BATCH_ROWS)
    forwards = [pipeline.global_batch(dataset, step=s, rows=every) for s in range(12)]
    for step in np.random.default_rng(0).permutation(12).tolist():
        for shares in ([[0], [1], [2], [3]], [[0, 1], [2, 3]], [[3, 1], [2, 0]]):
            parts = [
                pipeline.global_batch(dataset, step=step, rows=np.array(share)) for share in shares
            ]
            order = np.argsort(np.concatenate(shares))
            together = {name: np.concatenate([p[name] for p in parts])[order] for name in parts[0]}
            assert_equal(together, forwards[step])


def test_rows_past_the_batch_are_zeros_and_leave_the_others_as_they_are(dataset):
    batch = pipeline.global_batch(dataset, step=3, rows=np.arange(7))
    plain = pipeline.global_batch(dataset, step=3, rows=np.arange(BATCH_ROWS))
    assert batch.pop("row").tolist() == list(range(7))
    for name, array in batch.items():
        np.testing.assert_array_equal(array[:BATCH_ROWS], plain[name], err_msg=name)
        assert not array[BATCH_ROWS:].any(), name
        assert array.dtype == plain[name].dtype
    only_padding = pipeline.global_batch(dataset, step=3, rows=np.array([4, 6]))
    assert only_padding.pop("row").tolist() == [4, 6]
    assert not any(array.any() for array in only_padding.values())


def test_a_batch_of_about_so_many_examples_has_the_rows_that_hold_them():
    def rows(**given) -> int:
        batch = sections.Batch(**given)
        return rows_a_batch(batch, num_examples=1000, num_rows=250, row_length=64)

    assert rows(rows=7) == 7
    assert rows(examples=32) == 8
    assert rows(examples=33) == 8
    assert rows(examples=1) == 1, "never an empty batch"
    assert rows(tokens=130) == 2 and rows(tokens=10) == 1
    assert rows(rows=999) == rows(examples=5000) == rows(tokens=10**9) == 250, "no more than all"


@pytest.mark.parametrize(
    "given", [{}, {"examples": 32, "rows": 8}, {"rows": 8, "tokens": 64}, {"examples": 0}]
)
def test_a_batch_of_no_size_or_two_is_an_error_of_the_user(given):
    with pytest.raises(UserError, match="^batch.examples=.* and batch.tokens=.*: give exactly one"):
        rows_a_batch(sections.Batch(**given), num_examples=10, num_rows=5, row_length=64)


def test_tokens_do_not_count_where_there_are_none():
    with pytest.raises(UserError, match="batch.tokens=64: this task has no tokens; give batch.exa"):
        rows_a_batch(sections.Batch(tokens=64), num_examples=10, num_rows=10)


# --- the thread ---


def test_prefetched_things_come_in_order_however_long_each_takes():
    def make(step: int) -> int:
        time.sleep(0.01 * (step % 3 == 0))
        return step * step

    assert list(pipeline.Prefetch(make, range(3, 20))) == [s * s for s in range(3, 20)]
    assert list(pipeline.Prefetch(make, range(5, 5))) == []
    assert list(pipeline.Prefetch(make, range(1), depth=8)) == [0]


def test_no_more_than_its_depth_is_prepared_ahead():
    made = []
    batches = iter(pipeline.Prefetch(lambda step: made.append(step), range(100), depth=3))
    for taken in range(1, 6):
        next(batches)
        time.sleep(0.02)
        assert len(made) <= taken + 2
    batches.close()


def test_one_thread_makes_one_thing_at_a_time():
    threads, busy = set(), threading.Lock()

    def make(step: int) -> int:
        assert busy.acquire(blocking=False), "two at once"
        threads.add(threading.get_ident())
        time.sleep(0.002)
        busy.release()
        return step

    assert list(pipeline.Prefetch(make, range(20))) == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_time_spent_waiting_is_counted_and_time_spent_computing_is_not():
    slow_input = pipeline.Prefetch(lambda _: time.sleep(0.05), range(4))
    assert len(list(slow_input)) == 4
    assert slow_input.waited > 0.15
    slow_loop = pipeline.Prefetch(lambda step: step, range(4))
    for _ in slow_loop:
        time.sleep(0.05)
    assert slow_loop.waited < slow_input.waited


@pytest.mark.parametrize("error", [UserError("bad line 7"), RuntimeError("a bug")])
def test_an_exception_in_the_thread_reaches_the_loop_at_its_own_step(error):
    def make(step: int) -> int:
        if step == 4:
            raise error
        return step

    taken = []
    with pytest.raises(type(error)) as found:
        for batch in pipeline.Prefetch(make, range(10)):
            taken.append(batch)
    assert found.value is error
    assert taken == [0, 1, 2, 3]


def test_a_loop_that_ends_early_leaves_no_thread_behind():
    def input_threads() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name.startswith("input") and t not in before]

    before = set(threading.enumerate())
    batches = iter(pipeline.Prefetch(lambda step: step, range(10**9)))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    assert len(input_threads()) == 1
    batches.close()
    for thread in input_threads():
        thread.join(timeout=5)
    assert not input_threads()
    with pytest.raises(StopIteration):
        next(batches)


def test_what_is_planned_but_not_begun_when_the_loop_ends_is_never_made():
    made, may_go_on = [], threading.Event()

    def make(step: int) -> int:
        made.append(step)
        assert step == 0 or may_go_on.wait(timeout=5)
        return step

    batches = iter(pipeline.Prefetch(make, range(100)))
    assert next(batches) == 0
    batches.close()
    may_go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("input"):
            thread.join(timeout=5)
    assert made in ([0], [0, 1])
