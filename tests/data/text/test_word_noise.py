"""Random changes of training texts: of the words alone, and the same for the same (seed, row)."""

import numpy as np
import pytest
from conftest import GOLDEN

from bigjax.data.text import packing, tokenization, windowing, word_noise
from bigjax.data.text.sentences import Strings
from bigjax.data.text.word_noise import WordNoise

HIDDEN = 4


@pytest.fixture(scope="module")
def laid():
    tokenizer = tokenization.load_tokenizer(str(GOLDEN / "tiny_bert"))
    texts = [["John", "lives", "in", "Paris", "unaffable"][: 1 + i % 5] * 2 for i in range(40)]
    texts.append(["John", "lives"] * 30)  # longer than a row
    windows = windowing.make_windows(Strings.of(texts), tokenizer=tokenizer, row_length=24)
    plan = packing.plan(windows.lengths, row_length=24)
    return windows, packing.once(plan), plan.num_rows


def disturbed(laid, numbers, *, seed=0, **noise):
    windows, rows, _ = laid
    examples = rows(numbers)
    batch = windowing.fill_rows(windows, examples, row_length=24)
    given = {"windows": windows, "numbers": numbers, "seed": seed, "hidden": HIDDEN}
    return batch, word_noise.disturb(
        batch, examples, **given, noise=WordNoise(**noise), num_before=1
    )


def test_a_row_is_changed_alike_whichever_rows_it_is_made_with(laid):
    numbers = np.arange(laid[2])
    _, every = disturbed(laid, numbers, word_dropout=0.3, word_swaps=0.3)
    _, some = disturbed(laid, numbers[3:5], word_dropout=0.3, word_swaps=0.3)
    _, other = disturbed(laid, numbers, word_dropout=0.3, word_swaps=0.3, seed=1)
    assert np.array_equal(every["tokens"][3:5], some["tokens"])
    assert not np.array_equal(every["tokens"], other["tokens"])


def test_only_words_are_hidden_about_as_many_as_asked_and_never_all_of_a_text(laid):
    batch, found = disturbed(laid, np.arange(laid[2]), word_dropout=0.4)
    changed = batch["tokens"] != found["tokens"]
    assert set(np.unique(found["tokens"][changed])) == {HIDDEN}
    inner = batch["segments"] > 0
    assert not changed[(batch["positions"] == 0) & inner].any()
    assert 0.25 < changed[inner].mean() < 0.45
    for tokens, segments in zip(found["tokens"], batch["segments"]):
        for segment in range(1, segments.max() + 1):
            assert (tokens[segments == segment][1:-1] != HIDDEN).any()


def test_words_change_places_whole_and_none_is_lost(laid):
    batch, found = disturbed(laid, np.arange(laid[2]), word_swaps=0.5)
    assert not np.array_equal(batch["tokens"], found["tokens"])
    for before, after, segments in zip(batch["tokens"], found["tokens"], batch["segments"]):
        for segment in range(1, segments.max() + 1):
            own = segments == segment
            assert sorted(before[own]) == sorted(after[own])
            assert before[own][0] == after[own][0] and before[own][-1] == after[own][-1]
