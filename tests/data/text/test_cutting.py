"""The rule that cuts text into words, and spans of characters as tags of words."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigjax.data.text import cutting
from bigjax.data.text.cutting import Span, cut, tag_words


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in cut(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Who can't", ["Dr", ".", "Who", "can", "'", "t"]),
        ("pay 3.50€!", ["pay", "3", ".", "50", "€", "!"]),
        ("B2B e-mail a_b", ["B2B", "e", "-", "mail", "a", "_", "b"]),
        ("na\u0308ive cafe\u0301", ["na\u0308ive", "cafe\u0301"]),
        ("東京に", ["東", "京", "に"]),
        ("か\u3099x", ["か\u3099", "x"]),
        ("iPhone东", ["iPhone", "东"]),
        ("서울에 간다", ["서울에", "간다"]),
        ("วันนี้", ["วั", "น", "นี้"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("שלום\u200fעולם", ["שלום", "עולם"]),  # a direction mark is blank
        ("co\u00adop می\u200cروم", ["co\u00adop", "می\u200cروم"]),  # what joins is not
        ("👩\u200d💻👍🏽x", ["👩\u200d", "💻", "👍", "🏽", "x"]),
        ("𝒜 𐍈𐍉 Ⅻ x²", ["𝒜", "𐍈𐍉", "Ⅻ", "x²"]),
        ("a\r\nb\0c\u3000d\u200be", ["a", "b", "c", "d", "e"]),
        (" \u0301", ["\u0301"]),
        ("", []),
        (" \t\u2028", []),
    ],
)  # fmt: skip
def test_the_rule_is_what_its_docstring_says(text, expected):
    assert words(text) == expected


def slow_cut(text: str) -> list[tuple[int, int]]:
    """The docstring of `cut`, character by character."""

    def kind(character: str) -> str:
        code, category = ord(character), unicodedata.category(character)
        if category[0] == "M" or character in cutting._JOINING:
            return "behind"
        if character.isspace() or category in ("Cc", "Cf"):
            return "blank"
        if category[0] == "L":
            alone = any(first <= code <= last for first, last in cutting._WITHOUT_BLANKS)
            return "alone" if alone else "run"
        return "run" if category[0] == "N" else "other"

    found: list[tuple[int, int]] = []
    inside = None  # the kind of the word that may go on
    for at, character in enumerate(text):
        this = kind(character)
        if this == "blank":
            inside = None
        elif inside and (this == "behind" or (this == inside == "run")):
            found[-1] = (found[-1][0], at + 1)
        else:
            found.append((at, at + 1))
            inside = this
    return found


texts = st.text(
    st.one_of(
        st.sampled_from("aB1é.,-' \t\n\u0301\u200d\u200b\u00ad東ก\U0001f44d\U0001f3fd\ufe0f\0"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=300)
@given(text=texts)
def test_words_lie_in_the_text_in_order_and_cover_all_that_is_not_blank(text):
    found = cut(text)
    assert found == slow_cut(text)
    inside = set()
    last = 0
    for start, end in found:
        assert last <= start < end <= len(text)
        inside |= set(range(start, end))
        last = end
    for at, character in enumerate(text):
        is_format = unicodedata.category(character) in ("Cc", "Cf")
        assert at in inside or character.isspace() or is_format


def test_a_text_of_ascii_is_cut_by_the_same_rule():
    text = "".join(map(chr, range(128))) + " x1_y"
    assert cut(text) == [span for span in cut(text + "é") if span[1] <= len(text) - 1] + [
        (len(text) - 1, len(text))
    ]


def test_spans_become_tags_and_each_oddity_is_told():
    text = "Ada King met NewYork  Inc. today"
    found = tag_words(
        text,
        [
            Span(22, 26, "ORG"),
            Span(0, 9, "PER"),  # a blank behind
            Span(13, 16, "LOC"),  # ends inside a word
            Span(0, 9, "PER"),  # twice
        ],
        misaligned="expand",
    )
    assert found.words == ["Ada", "King", "met", "NewYork", "Inc", ".", "today"]
    assert found.tags == ["B-PER", "I-PER", "O", "B-LOC", "B-ORG", "I-ORG", "O"]
    assert (found.trimmed, found.repeated, found.wrong) == (1, 1, [])
    assert found.misaligned == ["LOC 'New' (13, 16) starts or ends inside a word of 'NewYork'"]
    dropped = tag_words(text, [Span(13, 16, "LOC")], misaligned="drop")
    assert set(dropped.tags) == {"O"} and len(dropped.misaligned) == 1


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 8, "A"), (4, 9, "B")], "A 'Ada King' (0, 8) and B 'King ' (4, 9) overlap"),
        ([(0, 8, "A"), (4, 8, "A")], "A 'Ada King' (0, 8) and A 'King' (4, 8) overlap"),
        ([(0, 2, "A"), (2, 3, "B")], "A 'Ad' (0, 2) and B 'a' (2, 3) lie in one word"),
        ([(3, 4, "A")], "A ' ' (3, 4) holds no word"),
        ([(5, 5, "A")], "A '' (5, 5) does not lie in the 9 characters"),
        ([(8, 10, "A")], "A ' ' (8, 10) does not lie in the 9 characters"),
        ([(-1, 2, "A")], "A 'Ad' (-1, 2) does not lie in the 9 characters"),
    ],
)
def test_spans_that_cannot_be_read_are_told_both_or_alone(spans, message):
    found = tag_words("Ada King ", [Span(*span) for span in spans], misaligned="expand")
    assert found.wrong == [message]


@settings(deadline=None, max_examples=300)
@given(data=st.data(), text=texts)
def test_spans_of_whole_words_come_back_with_their_offsets(data, text):
    cuts = cut(text)
    edges = sorted(data.draw(st.sets(st.integers(0, len(cuts)))))
    given_spans = [
        Span(cuts[first][0], cuts[last - 1][1], data.draw(st.sampled_from(["A", "B-C"])))
        for first, last in zip(edges[::2], edges[1::2])
    ]
    found = tag_words(text, data.draw(st.permutations(given_spans)), misaligned="error")
    assert not found.wrong and not found.misaligned and not found.trimmed
    from bigjax.data.text.tags import spans

    read = [Span(cuts[a][0], cuts[b - 1][1], kind) for a, b, kind in spans(found.tags)]
    assert read == given_spans
