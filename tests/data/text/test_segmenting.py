"""Sentences of running text: where they end, and that it does not matter how the text arrives."""

import hypothesis
import hypothesis.strategies as st
import pytest

from bigjax.data.text import segmenting
from bigjax.data.text.segmenting import segment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. J. R. Li of Inc. spoke. He left", ["Dr. J. R. Li of Inc. spoke.", "He left"]),
        ("It cost 3.5 million. 2019 was worse.", ["It cost 3.5 million.", "2019 was worse."]),
        ("at 5 p.m. there", ["at 5 p.m. there"]),
        ('"Really?" he asked. (Yes.) So', ['"Really?" he asked.', "(Yes.)", "So"]),
        ("a title\n\nthe text\nover lines", ["a title", "the text\nover lines"]),
        ("a\r\n\r\nb\r \rc", ["a", "b", "c"]),
        ("東京は大きい。京都も！そう", ["東京は大きい。", "京都も！", "そう"]),
        ("यह एक है। वह दो", ["यह एक है।", "वह दो"]),
        ("  \n ", []),
        ("", []),
        ("so ... he went. and", ["so ... he went. and"]),
    ],
)  # fmt: skip
def test_sentences_end_where_people_end_them(text, expected):
    found = list(segment([text]))
    assert [piece.text for piece in found] == expected
    assert all(text[start : start + len(piece)] == piece for start, piece in found)


def test_a_sentence_without_an_end_is_cut_at_a_blank_and_a_letter_keeps_its_marks():
    words = "word " * 5000
    found = list(segment([words]))
    assert max(len(piece.text) for piece in found) <= segmenting.MAX_LENGTH
    assert {piece.text[:5] for piece in found} == {"word "} and "".join(
        piece.text + " " for piece in found
    ) == words
    marked = "e\u0301" * segmenting.MAX_LENGTH
    assert all(
        piece.text[0] == "e" for piece in segment([marked[1:] and "x" + marked]) if piece.start
    )


PARTS = st.sampled_from(
    ["word ", "Paris. ", "x", "\n", "\n\n", " " * 999, " " * 1000, "。", "A. ", "e\u0301", "?! ",
     "”", "\r\n", "\r", "y" * 4000, "z " * 3000, "Dr.", "\u00a0", "\u2028"]
)  # fmt: skip


@hypothesis.given(st.lists(PARTS, max_size=40), st.sampled_from([1000, 3777, 60_001]))
def test_how_a_text_arrives_changes_nothing(parts, size):
    text = "".join(parts)
    whole = list(segment([text]))
    assert list(segment(text[i : i + size] for i in range(0, len(text), size))) == whole
    at = 0
    for start, piece in whole:  # all of it but blanks, once
        assert not text[at:start].strip() and piece and text[start : start + len(piece)] == piece
        at = start + len(piece)
    assert not text[at:].strip()
