"""What deserves a look in small splits made for it, each with its places."""

import numpy as np
import pytest

from bigjax.data.text import inspection
from bigjax.data.text.sentences import Note, Origin, Sentences, collect


def split(*sentences: str, where: str = "made up") -> Sentences:
    """From "John/B-PER sleeps" to a sentence; words without a tag have O."""
    pairs = [[token.partition("|")[::2] for token in text.split(" ")] for text in sentences]
    return collect(
        (([word for word, _ in found], [tag or "O" for _, tag in found]) for found in pairs),
        where=where,
    )


def in_file(found: Sentences, path: str, *, notes: tuple[Note, ...] = ()) -> Sentences:
    """As if sentence i had begun on line 10 i + 1 of a file."""
    num = len(found.words)
    origin = Origin((path,), np.zeros(num, np.int32), 10 * np.arange(num) + 1, notes=notes)
    return found._replace(origin=origin)


def look(**splits: Sentences) -> dict[str, inspection.Finding]:
    windows = {name: np.arange(len(found.words)) for name, found in splits.items()}
    found = inspection.findings(splits, window_sentences=windows)
    assert len({finding.what for finding in found}) == len(found)
    return {finding.what: finding for finding in found}


# Enough of a type that nothing is rare or missing, and no two sentences alike.
PEOPLE = [
    f"{name}|B-PER sees {name.lower()}s house" for name in ("Ann", "Bob", "Cid", "Dan", "Eve")
]
OTHERS = [f"{name}|B-PER hears of {name.lower()}" for name in ("Fay", "Gus", "Hal", "Ida", "Joe")]


def test_sentences_in_which_there_is_nothing_to_see_have_no_finding():
    assert look(train=split(*PEOPLE), dev=split(*OTHERS)) == {}


def test_equal_and_nearly_equal_sentences_of_a_split_are_told_with_the_first_of_them():
    found = look(
        train=in_file(
            split(*PEOPLE, "It is 12 , here", PEOPLE[1], "it IS 47 here !", "It is 12 , here"),
            "a.conll",
        )
    )
    same = found["train: sentences that were there before"]
    assert (same.count, same.serious) == (2, False)
    assert same.places == (
        "a.conll:61 = a.conll:11: 'Bob sees bobs house'",
        "a.conll:81 = a.conll:51: 'It is 12 , here'",
    )
    near = found["train: sentences nearly as one before, but for capitals, digits and punctuation"]
    assert near.count == 1
    assert near.places == ("a.conll:71 = a.conll:51: 'it IS 47 here !'",)


def test_sentences_without_a_letter_are_not_nearly_equal():
    assert look(train=split(*PEOPLE, "3 : 1", "2 - 0", ". .", "! ?")) == {}


def test_sentences_that_two_splits_share_are_serious():
    dev = split(*OTHERS, PEOPLE[2], PEOPLE[0].replace("sees", "SEES -"))
    found = look(train=split(*PEOPLE), dev=dev)
    assert found["dev: sentences that train has too"] == (
        "dev: sentences that train has too",
        1,
        ("dev sentence 6 = train sentence 3: 'Cid sees cids house'",),
        True,
    )
    near = found[
        "dev: sentences that train has nearly so, but for capitals, digits and punctuation"
    ]
    assert near.count == 1 and near.serious
    assert near.places == ("dev sentence 7 = train sentence 1: 'Ann SEES - anns house'",)
    assert len(found) == 2


def test_equal_sentences_with_different_tags_are_serious_and_show_the_first_difference():
    train = split(*PEOPLE, "Rome|B-PER is big", "Rome is big", "Rome is big")
    dev = split(*OTHERS, "Ann sees anns house")
    found = look(train=in_file(train, "t.conll"), dev=dev)["equal sentences with different tags"]
    assert (found.count, found.serious) == (2, True)
    assert found.places == (
        "t.conll:51 and t.conll:61: 'Rome' is B-PER and O",
        "t.conll:1 and dev sentence 6: 'Ann' is B-PER and O",
    )


def test_types_that_are_missing_are_serious_and_rare_ones_are_not():
    found = look(
        train=split(*PEOPLE, "in Oslo|B-LOC today", "in Rome|B-LOC now"),
        dev=split(*OTHERS, "the Nile|B-RIV and Po|B-RIV flow"),
    )
    assert found["dev: types with no entity"][1:] == (1, ("LOC",), True)
    assert found["train: fewer than 5 entities of type"][1:] == (1, ("LOC (2)",), False)
    assert found["dev: fewer than 5 entities of type"][1:] == (1, ("RIV (2)",), False)
    unseen = found["dev: tags that train lacks"]
    assert unseen[1:] == (1, ("dev sentence 6: B-RIV (2)",), True)


def test_plain_tags_are_looked_at_as_tags():
    found = look(train=split("the|DET dog|NOUN", "a|DET cat|NOUN"), dev=split("Hi|INTJ dog|NOUN"))
    assert found["dev: tags that train lacks"].places == ("dev sentence 1: INTJ (1)",)
    assert found["dev: tags with no word"].places == ("DET",)
    assert found["train: fewer than 5 words with tag"].places == ("DET (2)", "NOUN (2)")
    assert not any("entities" in what for what in found)


def test_words_that_are_nearly_always_of_one_type_are_told_where_they_are_not():
    usual = [f"to Oslo|B-LOC {name.lower()}" for name in ("Ann", "Bob", "Cid", "Dan", "Eve")]
    found = look(
        train=split(*PEOPLE, *usual, "Oslo|B-PER runs", "then 9|B-LOC"),
        dev=split(*OTHERS, "so Oslo|B-LOC sings", *(f"x{i} to Oslo|B-LOC" for i in range(4))),
    )
    odd = found["words of entities that are tagged differently here"]
    assert odd.count == 1
    assert odd.places == ("train sentence 11: 'Oslo' is PER, LOC in 10 of 11",)


def test_a_word_that_is_of_no_usual_type_is_not_told():
    half = ["to Oslo|B-PER a", "to Oslo|B-PER b", "to Oslo c", "to Oslo d"]
    assert look(train=split(*PEOPLE, *half)) == {}


@pytest.mark.parametrize(
    ("sentence", "what", "place"),
    [
        ("hm", "sentences of one word", "'hm'"),
        ("\u200b \u200b", "sentences in which nothing can be seen", r"'\u200b \u200b'"),
        ("so zero\u200bwidth", "words with zero-width or control characters", r"'zero\u200bwidth'"),
        ("so \x07", "words with zero-width or control characters", r"'\x07'"),
        ("so lost\ufffd", "words with zero-width or control characters", "'lost\ufffd'"),
        ("so (|B-PER Al|I-PER left", "entities that begin in blank or punctuation", "'( Al'"),
        ("so Al|B-PER !|I-PER", "entities that end in blank or punctuation", "'Al !'"),
        ("so then|I-PER left", "I- tags with no entity before them to go on with", "'then'"),
        ("so Al|B-PER Qaida|I-ORG", "I- tags with no entity before them to go on with", "'Qaida'"),
    ],
)
def test_odd_sentences_words_and_entities_are_told_with_their_place(sentence, what, place):
    found = look(train=in_file(split(*PEOPLE, sentence), "odd.conll"))[f"train: {what}"]
    assert found.places[0] == f"odd.conll:51: {place}"
    assert not found.serious


@pytest.mark.parametrize(
    "entity",
    [
        "AT&T|B-PER Inc.|I-PER '90s|I-PER",
        "Ali|B-PER (|I-PER boxer|I-PER )|I-PER",
        "``|B-PER Ali|I-PER ''|I-PER",
        '"|B-PER Ali|I-PER "|I-PER',
    ],
)
def test_entities_with_punctuation_inside_or_in_pairs_are_not_odd(entity):
    assert look(train=split(*PEOPLE, f"so {entity} left")) == {}


def test_a_sentence_of_several_windows_is_longer_than_a_row():
    train = split(*PEOPLE)
    found = inspection.findings(
        {"train": train}, window_sentences={"train": np.array([0, 1, 1, 2, 3, 4, 4, 4])}
    )
    assert [(f.count, f.places) for f in found] == [
        (2, ("train sentence 2: 'Bob sees bobs house' (4 words)",
             "train sentence 5: 'Eve sees eves house' (4 words)"))
    ]  # fmt: skip


def test_what_the_readers_noted_is_told_once():
    note = Note("tags that break the scheme, read as conlleval does", 2, ("t.conll:3", "t.conll:9"))
    train = in_file(split(*PEOPLE), "t.conll", notes=(note,))
    dev = in_file(split(*OTHERS), "t.conll", notes=(note,))
    found = look(train=train, dev=dev)
    assert found == {f"train: {note.what}": (f"train: {note.what}", 2, note.places, False)}


def test_serious_findings_come_first_and_five_places_are_shown():
    train = split(*PEOPLE, *PEOPLE, *PEOPLE)
    first, second = look(train=train, dev=split(*OTHERS, PEOPLE[0])).values()
    assert first.serious and not second.serious
    assert (second.count, len(second.places)) == (10, 5)
