"""Which tokens are hidden: as many as asked for, by a hash of what the row is and nothing else."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bigjax.tasks.masked_lm.masking import MAX_TOGETHER, Masking, hide

MASK, VOCAB = 4, 1000
ORDINARY = np.arange(5, VOCAB, dtype=np.int32)


def masking(**given) -> Masking:
    usual = {"seed": 7, "share": 0.15, "masked": 0.8, "random": 0.1, "is_whole": False}
    return Masking(**(usual | given), mask_id=MASK, ordinary=ORDINARY)


def rows_of(num: int, *, length: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of two pieces and some padding, whose words have one to a dozen sub-words."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(5, VOCAB, (num, length)).astype(np.int32)
    begins = rng.random((num, length)) < 0.6
    begins[:, length // 2 + 2] = True
    words = np.cumsum(begins, axis=1) + 1000 * np.arange(num)[:, None]
    words[:, [0, length // 2, length // 2 + 1]] = -1
    words[np.arange(length)[None] >= rng.integers(length - 9, length, num)[:, None]] = -1
    return {"tokens": tokens, "words": words}


def restored(hidden, rows) -> np.ndarray:
    """The tokens with what was asked put back."""
    tokens = hidden["tokens"].copy()
    row, slot = np.nonzero(hidden["mask"])
    tokens[row, hidden["slots"][row, slot]] = hidden["asked"][row, slot]
    assert (rows["words"][row, hidden["slots"][row, slot]] >= 0).all()
    return tokens


@pytest.mark.parametrize("is_whole", [False, True])
def test_of_a_million_tokens_fifteen_percent_are_hidden_and_of_these_eight_in_ten_masked(is_whole):
    how, total = masking(is_whole=is_whole), 0
    saw = np.zeros(3)
    for begin in range(0, 18_000, 3000):
        rows = rows_of(3000, seed=begin)
        hidden = hide(rows, np.arange(begin, begin + 3000), masking=how)
        total += (rows["words"] >= 0).sum()
        used = hidden["mask"]
        seen, asked = np.take_along_axis(hidden["tokens"], hidden["slots"], 1)[used], None
        asked = hidden["asked"][used]
        saw += [(seen == MASK).sum(), (seen != MASK).sum(), (seen == asked).sum()]
    assert total > 1e6
    assert saw[:2].sum() / total == pytest.approx(0.15, abs=0.15 * 0.002)
    np.testing.assert_allclose(saw / saw[:2].sum(), [0.8, 0.2, 0.1], atol=0.004)


def test_what_is_hidden_is_what_a_loop_over_tokens_hides():
    """The share of a row in order of the hashes, the last by chance, with one token at a time."""
    rows, how = rows_of(40), masking(share=0.4)
    hidden = hide(rows, np.arange(40), masking=how)
    for words, mask in zip(rows["words"], hidden["mask"]):
        expected = 0.4 * (words >= 0).sum()
        assert mask.sum() in (np.floor(expected), np.ceil(expected))
    assert np.array_equal(restored(hidden, rows), rows["tokens"])
    assert not hidden["slots"][~hidden["mask"]].any()


def test_words_are_hidden_whole_and_long_ones_in_parts():
    rows = rows_of(200)
    rows["words"][:, 40:62] = np.where(rows["words"][:, 40:62] >= 0, 10**6, -1)
    hidden = hide(rows, np.arange(200), masking=masking(is_whole=True, share=0.3))
    parts = 0
    for words, slots, mask in zip(rows["words"], hidden["slots"], hidden["mask"]):
        chosen = set(slots[mask].tolist())
        for word in np.unique(words[words >= 0]):
            places = np.flatnonzero(words == word)
            for begin in range(0, len(places), MAX_TOGETHER):
                part = set(places[begin : begin + MAX_TOGETHER].tolist())
                assert part <= chosen or not part & chosen
                parts += bool(part <= chosen and len(part) == MAX_TOGETHER)
    assert parts > 20


def test_a_row_is_hidden_alike_whoever_computes_it_and_otherwise_in_the_next_epoch():
    rows, how = rows_of(24), masking()
    whole = hide(rows, np.arange(24) + 96, masking=how)
    for part in (slice(0, 5), slice(5, 24, 3)):
        alone = hide({k: x[part] for k, x in rows.items()}, np.arange(24)[part] + 96, masking=how)
        for name, array in alone.items():
            assert np.array_equal(array, whole[name][part])
    later = hide(rows, np.arange(24) + 96 + 24, masking=how)
    other = hide(rows, np.arange(24) + 96, masking=how._replace(seed=8))
    for changed in (later, other):
        same = (changed["tokens"] == MASK) & (whole["tokens"] == MASK)
        assert same.sum() < 0.3 * (whole["tokens"] == MASK).sum()


@hypothesis.given(
    st.lists(st.lists(st.integers(-1, 6), min_size=12, max_size=12), min_size=1, max_size=6),
    st.floats(0.01, 0.9),
    st.booleans(),
)
def test_no_row_has_more_hidden_than_slots(words, share, is_whole):
    rows = {"words": np.array(words), "tokens": np.full((len(words), 12), 9, np.int32)}
    hidden = hide(rows, np.arange(len(words)), masking=masking(share=share, is_whole=is_whole))
    assert hidden["slots"].shape[1] == hidden["mask"].shape[1] <= 12
    assert np.array_equal(restored(hidden, rows), rows["tokens"])


def test_every_token_is_hidden_as_often_as_any_other():
    rows = {
        "words": np.arange(20)[None].repeat(6000, 0),
        "tokens": np.full((6000, 20), 9, np.int32),
    }
    hidden = hide(rows, np.arange(6000), masking=masking())
    times = np.bincount(hidden["slots"][hidden["mask"]], minlength=20)
    np.testing.assert_allclose(times / 6000, 0.15, atol=0.02)
