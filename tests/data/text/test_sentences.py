"""Sentences as they lie in memory: read back as they were given, and as their runs knew them."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigjax.data.text.sentences import Strings, collect

SENTENCES = [["a", "b", "a"], ["c"], ["b", "a"]]


@given(st.lists(st.lists(st.text(max_size=2), max_size=5), max_size=6))
def test_strings_are_the_lists_that_they_were_made_of(sentences):
    strings = Strings.of(iter(sentences))
    assert strings == sentences and sentences == strings
    assert strings == Strings.of(sentences)
    assert len(strings) == len(sentences)
    assert [strings[i] for i in range(len(strings))] == list(strings) == sentences
    assert strings[1:5:2] == sentences[1:5:2] and strings[-2:] == sentences[-2:]
    assert strings.lengths.tolist() == [len(found) for found in sentences]
    flat = [string for found in sentences for string in found]
    assert strings.counts() == {string: flat.count(string) for string in flat}
    assert list(strings.distinct) == list(dict.fromkeys(flat)), "in the order of the text"


def test_strings_are_indexed_as_a_list_is():
    strings = Strings.of(SENTENCES)
    assert strings[-1] == ["b", "a"]
    for outside in (3, -4):
        with pytest.raises(IndexError):
            strings[outside]
    assert strings != SENTENCES[:2] and strings != [["a", "b", "a"], ["c"], ["b", "b"]]
    assert strings != "abc" and strings != 3


@pytest.mark.parametrize(("num", "dtype"), [(256, np.uint8), (257, np.uint16), (65537, np.uint32)])
def test_numbers_of_strings_are_as_narrow_as_they_can_be(num, dtype):
    strings = Strings.of([[str(i)] for i in range(num)])
    assert strings.ids.dtype == dtype
    assert strings[num - 1] == [str(num - 1)]


def test_a_fingerprint_is_that_of_every_run_before():
    """Its value is in the records of runs, which would not go on if it changed."""
    tags = [["O", "B-X", "I-X"], ["O"], ["B-Y", "O"]]
    found = collect(zip(SENTENCES, tags), where="here")
    assert (found.words, found.tags, found.where) == (SENTENCES, tags, "here")
    assert found.fingerprint() == (
        "04d7b64bec3982e616d0f926c78496f28976ce2d517778d03e6c53cf271787fd"
    )
    other = collect(zip(SENTENCES, [*tags[:2], ["O", "O"]]), where="here")
    assert other.fingerprint() != found.fingerprint()
    assert collect(zip(SENTENCES, tags), where="there").fingerprint() == found.fingerprint()


def test_a_million_words_take_a_few_megabytes():
    """A sentence at a time is in memory as strings."""
    words = [f"word {i}" for i in range(1000)]
    tracemalloc.start()
    found = collect(
        ((words[i % 980 : i % 980 + 20], ["O"] * 20) for i in range(50_000)), where="here"
    )
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.words.ids) == 1_000_000
    assert kept < 5e6 and peak < 20e6
