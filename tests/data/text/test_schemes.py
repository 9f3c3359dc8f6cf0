"""Tags in every scheme and spelling to IOB2, and the slips that are told and repaired."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_columns import SCHEMES, TYPES, encode, entities_of

from bigjax.data.text import schemes
from bigjax.data.text.schemes import may_follow, to_iob2
from bigjax.data.text.tags import conlleval_spans, spans
from bigjax.errors import UserError

SPELLINGS = {
    "B-TYPE": lambda letter, kind: f"{letter}-{kind}",
    "b-type": lambda letter, kind: f"{letter.lower()}-{kind}",
    "B_TYPE": lambda letter, kind: f"{letter}_{kind}",
    "b_type": lambda letter, kind: f"{letter.lower()}_{kind}",
    "TYPE-B": lambda letter, kind: f"{kind}-{letter}",
    "TYPE_B": lambda letter, kind: f"{kind}_{letter}",
}


def spell(tag: str, *, spelling: str) -> str:
    letter, _, kind = tag.partition("-")
    if tag == "O":
        return "o" if spelling.startswith("b") else "O"
    return SPELLINGS[spelling](letter, kind)


@settings(deadline=None)
@given(data=st.data(), num_words=st.integers(0, 8), scheme=st.sampled_from(SCHEMES))
def test_well_formed_tags_keep_their_entities(data, num_words, scheme):
    entities = data.draw(entities_of(num_words=num_words, types=(*TYPES, "")))
    tags = encode(entities, num_words=num_words, scheme=scheme)
    before = list(tags)
    found = to_iob2([tags], scheme=scheme)
    assert found.tags == [encode(entities, num_words=num_words, scheme="IOB2")]
    assert not found.slips and tags == before


@settings(deadline=None)
@given(
    data=st.data(),
    scheme=st.sampled_from(SCHEMES),
    spelling=st.sampled_from(sorted(SPELLINGS)),
    kinds=st.sampled_from([("PER", "LOC"), ("creative-work", "x_y")]),
)
def test_every_spelling_is_recognised_and_means_the_same(data, scheme, spelling, kinds):
    entities = [(0, 1, kinds[0]), (2, 5, kinds[0]), (5, 7, kinds[0]), (7, 8, kinds[1])]
    more = data.draw(entities_of(num_words=6, types=kinds))
    written = [encode(e, num_words=n, scheme=scheme) for e, n in ((entities, 10), (more, 6))]
    found = to_iob2([[spell(tag, spelling=spelling) for tag in tags] for tags in written])
    assert found.spelling == spelling and found.scheme == scheme.lower() and not found.slips
    both = [(entities, 10), (more, 6)]
    assert found.tags == [encode(e, num_words=n, scheme="IOB2") for e, n in both]


def test_bare_letters_are_entities_without_a_type_in_both_cases():
    for tags in (["B", "I", "O", "B"], ["b", "i", "o", "b"]):
        found = to_iob2([tags])
        assert (found.scheme, found.tags) == ("iob2", [["B", "I", "O", "B"]])


def test_io_tags_are_entities_of_which_neighbours_of_one_type_are_one():
    tags = ["O", "PER", "PER", "LOC", "O", "O", "PER", "O"]
    found = to_iob2([tags, ["PER", "O"]])
    assert found.scheme == "io"
    assert found.tags == [
        ["O", "B-PER", "I-PER", "B-LOC", "O", "O", "B-PER", "O"], ["B-PER", "O"],
    ]  # fmt: skip
    assert to_iob2([["PER", "PER", "O"]], scheme="io").tags == [["B-PER", "I-PER", "O"]]
    assert to_iob2([tags], scheme="none").tags == [tags]


@pytest.mark.parametrize(
    "tags",
    [
        ["NN", "IN", "O"],  # "O" is not the most frequent
        ["O", "O", "O", "NN", "PER"],  # a part of speech
        ["O", "O", "V", "N"],  # one letter each
        ["O", "O", "^", "@", "N"],
        ["PRP-S", "NN", "NN", "VB"],
        ["n", "v", "o", "n"],
    ],
)
def test_parts_of_speech_stay_plain(tags):
    found = to_iob2([tags])
    assert (found.scheme, found.tags) == ("none", [tags])


def test_iob1_is_read_as_conlleval_does():
    tags = ["I-A", "I-B", "B-B", "I-A", "O", "B-A", "I-A"]
    expected = ["B-A", "B-B", "B-B", "B-A", "O", "B-A", "I-A"]
    assert to_iob2([tags], scheme="IOB1").tags == [expected]


@pytest.mark.parametrize(
    ("tags", "scheme", "index", "message"),
    [
        ("O I-A", "IOB2", 1, "tag 'I-A' cannot come after 'O' in IOB2"),
        ("B-A I-B", "IOB2", 1, "tag 'I-B' cannot come after 'B-A' in IOB2"),
        ("B-A O", "BIOES", 1, "tag 'O' cannot come after 'B-A' in BIOES"),
        ("S-A E-A", "BIOES", 1, "tag 'E-A' cannot come after 'S-A' in BIOES"),
        ("O B-A I-A", "BILOU", 2, "tag 'I-A' cannot end a sentence in BILOU"),
        ("S-A", "BILOU", 0, "tag 'S-A' is not in BILOU; expected O or B-TYPE or I-TYPE"),
        ("O E-A", "IOB1", 1, "tag 'E-A' is not in IOB1"),
        ("B-", "IOB2", 0, "tag 'B-' is not in IOB2"),
        ("o o b-a o i-a i-b o o", "auto", 4, "tag 'i-a' cannot come after 'o' in IOB2"),
    ],
)
def test_a_slip_names_the_tag_as_it_is_written(tags, scheme, index, message):
    first, *_ = to_iob2([["O"], tags.split()], scheme=scheme).slips
    assert (first.sentence, first.index) == (1, index)
    assert first.message.startswith(message)


def test_one_wrong_tag_is_one_slip():
    for wrong in ("0", "X-PER", "NN", "B-"):
        found = to_iob2([["B-PER", "I-PER", wrong, "O", "B-PER"]])
        assert [slip.index for slip in found.slips] == [2], wrong
    found = to_iob2([["B-A", "0", "I-A"]])
    assert [slip.index for slip in found.slips] == [1, 2]


TAGS = ("O", "B-A", "I-A", "B-C", "I-C", "B", "I")


def test_repaired_iob2_has_the_entities_that_conlleval_sees_for_all_short_sentences():
    for length in range(1, 6):
        every = [
            list(tags) for tags in itertools.product(TAGS[: 7 if length < 5 else 5], repeat=length)
        ]
        found = to_iob2(every, scheme="iob2")
        slips = {slip.sentence for slip in found.slips}
        for number, (tags, repaired) in enumerate(zip(every, found.tags)):
            legal = all(may_follow(*p, scheme="iob2") for p in itertools.pairwise(["O", *tags]))
            assert legal == (number not in slips)
            assert spans(repaired) == conlleval_spans(repaired) == conlleval_spans(tags), tags


def test_repaired_tags_of_every_scheme_are_legal_iob2():
    letters = ["O", "B-A", "I-A", "E-A", "S-A", "E-C", "I", "0"]
    every = [list(tags) for tags in itertools.product(letters, repeat=4)]
    for scheme in ("iob2", "bioes", "bilou", "iob1"):
        for tags in to_iob2(every, scheme=scheme).tags:
            assert all(
                may_follow(*pair, scheme="iob2") for pair in itertools.pairwise(["O", *tags])
            )


def test_an_unknown_scheme_is_an_error_with_the_nearest():
    with pytest.raises(UserError, match="no tagging scheme 'iob3'; did you mean 'iob"):
        to_iob2([["O"]], scheme="IOB3")
    assert set(schemes.SCHEMES) > {"auto", "none", "io", "bmes"}
