"""Splits made of one: shares by a hash of the words, and several files as one."""

import collections
import random

import numpy as np
import pytest

from bigjax.data.text import recognise, splitting
from bigjax.data.text.recognise import Reading
from bigjax.data.text.sentences import Origin, Sentences, Strings
from bigjax.errors import UserError


def made_up(num: int, *, seed: int = 0) -> Sentences:
    """`num` sentences of which many are equal; tags differ also where words do not."""
    rng = random.Random(seed)
    words = [[f"w{rng.randrange(9)}", f"w{rng.randrange(9)}"] for _ in range(num)]
    tags = [[rng.choice(["O", "B-X"]), "O"] for _ in range(num)]
    origin = Origin(("a.conll",), np.zeros(num, np.int32), np.arange(1, num + 1))
    return Sentences(Strings.of(words), Strings.of(tags), "a.conll", origin)


def content(*parts: Sentences) -> collections.Counter:
    return collections.Counter(
        (tuple(words), tuple(tags), part.origin.place(i))
        for part in parts
        for i, (words, tags) in enumerate(zip(part.words, part.tags))
    )


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_a_share_is_held_out_whole_and_equal_sentences_stay_together(fraction):
    whole = made_up(500)
    rest, held = splitting.hold_out(whole, fraction=fraction)
    assert content(rest, held) == content(whole)
    assert not set(map(tuple, rest.words)) & set(map(tuple, held.words))
    assert abs(len(held.words) - fraction * 500) < 25  # groups of equal ones are about six
    assert rest.origin.line.tolist() == sorted(rest.origin.line.tolist())
    assert held.where == f"{fraction:.0%} of a.conll"


def test_which_sentences_are_held_out_depends_neither_on_their_order_nor_on_their_tags():
    whole = made_up(300)
    order = np.random.default_rng(1).permutation(300)
    _, held = splitting.hold_out(whole, fraction=0.2)
    _, again = splitting.hold_out(splitting.take(whole, order, where="x"), fraction=0.2)
    plain = whole._replace(tags=[["O"] * len(words) for words in whole.words])
    _, untagged = splitting.hold_out(plain, fraction=0.2)
    assert content(held) == content(again)
    assert held.words == untagged.words


def test_every_sentence_is_in_one_fold_and_folds_are_about_equal():
    whole = made_up(500)
    folds = [splitting.fold(whole, number=k, of=5) for k in range(5)]
    assert content(*(held for _, held in folds)) == content(whole)
    for rest, held in folds:
        assert content(rest, held) == content(whole)
        assert not set(map(tuple, rest.words)) & set(map(tuple, held.words))
        assert 75 < len(held.words) < 125
    unlike = Sentences(Strings.of([f"w{i}"] for i in range(23)), Strings.of([["O"]] * 23), "b")
    sizes = [len(splitting.fold(unlike, number=k, of=5)[1].words) for k in range(5)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]


def test_a_share_or_fold_of_nothing_is_an_error_that_says_so():
    few = made_up(4)
    with pytest.raises(
        UserError, match="data.dev_fraction=0.1 of the 4 sentences of a.conll is no"
    ):
        splitting.hold_out(few, fraction=0.1)
    same = few._replace(words=[["a", "b"]] * 4)
    with pytest.raises(UserError, match="is all of them"):
        splitting.hold_out(same, fraction=0.5)
    with pytest.raises(UserError, match="data.fold=5: expected 0 to 4 of data.folds=5"):
        splitting.fold(few, number=5, of=5)
    with pytest.raises(UserError, match="leaves fold 1 with 0; expected fewer folds"):
        splitting.fold(same, number=1, of=2)


def test_several_files_are_one_split_in_order_and_each_keeps_its_places(tmp_path):
    first, second = tmp_path / "1.conll", tmp_path / "2.jsonl"
    first.write_text("# c\na O\nb O\n\nc B-X\n")
    second.write_text('{"text": "no"}\n{"text": "d e", "spans": []}\n')
    whole = splitting.join([recognise.read(path, Reading()) for path in (first, second)])
    assert whole.words == [["a", "b"], ["c"], ["d", "e"]]
    places = [whole.origin.place(i).removeprefix(f"{tmp_path}/") for i in range(3)]
    assert places == ["1.conll:2", "1.conll:5", "2.jsonl:2"]
    assert whole.where == f"{first} and 1 more"
    assert len(whole.origin.found) == 2 and len(whole.origin.notes) == 2
    assert whole.origin.rule == "unicode-1"
    taken = splitting.take(whole, np.array([2, 0]), where="some")
    assert taken.words == [["d", "e"], ["a", "b"]]
    assert taken.origin.place(0) == f"{second}:2"
