"""What was read, written out and read back."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_columns import encode, entities_of

from bigjax.data.text import recognise, writing
from bigjax.data.text.cutting import RULE, cut
from bigjax.data.text.recognise import Reading
from bigjax.data.text.sentences import Origin, Sentences, Strings, collect
from bigjax.errors import UserError

characters = st.one_of(
    st.sampled_from("aB1.-'#\u0301\u200d東\U0001f44d\\\"{}[]"),
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]),
)
one_word = st.text(characters, min_size=1, max_size=5).filter(
    lambda word: not word.startswith(("\ufeff", "-DOCSTART-"))
)


@st.composite
def tagged(draw, *, words):
    found = draw(st.lists(words, min_size=1, max_size=4))
    tags = [
        encode(draw(entities_of(num_words=len(one))), num_words=len(one), scheme="IOB2")
        for one in found
    ]
    return Sentences(Strings.of(found), Strings.of(tags), "made up")


pre_split = tagged(words=st.lists(one_word, min_size=1, max_size=5))
texts = st.text(st.one_of(characters, st.sampled_from("  \u3000")), min_size=1, max_size=20)
by_rule = tagged(words=texts.map(lambda text: [text[a:b] for a, b in cut(text)]).filter(bool)).map(
    lambda sentences: sentences._replace(origin=Origin(rule=RULE))
)


def read_back(lines, tmp_path_factory, **options):
    path = tmp_path_factory.mktemp("written") / "file"
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return recognise.read(path, Reading(**options))


@settings(deadline=None, max_examples=150)
@given(sentences=pre_split)
def test_columns_are_read_back_equal(tmp_path_factory, sentences):
    options = {"format": "columns", "scheme": "iob2"}
    found = read_back(writing.conll_lines(sentences), tmp_path_factory, **options)
    assert (found.words, found.tags) == (sentences.words, sentences.tags)
    assert found.fingerprint() == sentences.fingerprint()


@settings(deadline=None, max_examples=150)
@given(sentences=st.one_of(pre_split, by_rule))
def test_json_lines_are_read_back_equal_and_their_offsets_cut_the_entities(
    tmp_path_factory, sentences
):
    lines = list(writing.jsonl_lines(sentences))
    found = read_back(lines, tmp_path_factory)
    assert (found.words, found.tags) == (sentences.words, sentences.tags)
    assert found.origin.rule == sentences.origin.rule
    for line, words, tags in zip(lines, sentences.words, sentences.tags):
        record = json.loads(line)
        starts = [i for i, tag in enumerate(tags) if tag[0] == "B"]
        assert [span["label"] for span in record["spans"]] == [tags[i][2:] for i in starts]
        for span, i in zip(record["spans"], starts):
            piece = record["text"][span["start"] : span["end"]]
            assert piece.split(" ") == words[i : i + piece.count(" ") + 1]


def test_parts_of_speech_are_read_back_equal(tmp_path_factory):
    sentences = collect([(["a", "b"], ["NN", "O"]), (["O"], ["B-X"])], where="made up")
    for lines in (writing.conll_lines(sentences), writing.jsonl_lines(sentences)):
        found = read_back(lines, tmp_path_factory, scheme="none")
        assert (found.words, found.tags) == (sentences.words, sentences.tags)


@pytest.mark.parametrize("word", ["a\tb", "a\nb", " a", " ", "-DOCSTART-", "x -DOCSTART-"])
def test_a_word_that_columns_cannot_hold_is_an_error_and_json_holds_it(tmp_path_factory, word):
    sentences = collect([([word, "b"], ["O", "B-X"])], where="made up")
    with pytest.raises(UserError, match="does not fit into a column file; write JSON lines"):
        list(writing.conll_lines(sentences))
    if word.strip() == word:
        found = read_back(writing.jsonl_lines(sentences), tmp_path_factory)
        assert found.words == sentences.words
