"""Tables with a word a row: what makes a sentence, what quotes mean, and the ways they go wrong."""

import pytest

from bigjax.data.text import recognise
from bigjax.data.text.recognise import Reading
from bigjax.errors import UserError


@pytest.fixture
def read(tmp_path):
    def read(text: str, **options):
        path = tmp_path / "x.csv"
        path.write_bytes(text.encode())
        return recognise.read(path, Reading(**options))

    return read


WORDS, TAGS = [["Ada", "sings"], ["Rome"]], [["B-PER", "O"], ["B-LOC"]]


@pytest.mark.parametrize(
    "text",
    [
        "Sentence #,Word,POS,Tag\ns1,Ada,N,B-PER\n,sings,V,O\ns2,Rome,N,B-LOC\n",
        "sentence_id,tag,word\r\n1,B-PER,Ada\r\n1,O,sings\r\n2,B-LOC,Rome\r\n",
        '"sentence";"word";"tag"\n"1";"Ada";"B-PER"\n"";"sings";"O"\n"2";"Rome";"B-LOC"\n',
        "word,tag\nAda,B-PER\nsings,O\n\n\nRome,B-LOC\n",
        "word,tag\nAda,B-PER\nsings,O\n,\nRome,B-LOC",
        "sent_id\ttoken\tlabel\n1\tAda\tB-PER\n1\tsings\tO\n2\tRome\tB-LOC\n",
        "|sent|word|ner|\n|1|Ada|B-PER|\n|1|sings|O|\n|2|Rome|B-LOC|\n",
        "sentence #,word,pos,tag\n1,Ada,N,B-PER\n,,,\n,sings,V,O\n2,Rome,N,B-LOC\n",
    ],
)
def test_sentences_are_parted_by_their_column_or_by_empty_rows(read, text):
    found = read(text)
    assert (found.words, found.tags) == (WORDS, TAGS)
    assert found.origin.found[0].split("format: ")[1].startswith("CSV")
    lines = text.split("\n")
    for i, words in enumerate(found.words):
        assert words[0] in lines[found.origin.line[i] - 1]


def test_columns_are_chosen_by_name_or_number(read):
    text = "word,lemma,pos,ner\nAda,ada,N,B-PER\n"
    assert read(text).tags == [["B-PER"]]
    assert read(text, token_column="lemma", tag_column="POS").words == [["ada"]]
    assert read(text, tag_column=2).tags == read(text, tag_column="-2").tags == [["N"]]


def test_quotes_hold_separators_and_doubled_quotes_and_are_plain_between_tabs(read):
    found = read('word,tag\n"Town, Old",B-LOC\n"""",O\n"say ""hi""",O\n')
    assert found.words == [["Town, Old", '"', 'say "hi"']]
    found = read('sent\tword\ttag\n1\t"\tO\n1\thi\tO\n')
    assert found.words == [['"', "hi"]]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("word,tag\na\n", {}, ":2: expected 2 cells as in the header, found 1 in ['a']"),
        ("word,tag\na,b,O\n", {}, ":2: expected 2 cells as in the header, found 3"),
        ("word,tag\nx,O\na,\n", {}, ":3: the tag is empty in ['a', '']"),
        ("word,tag\n ,O\n", {}, ":2: the word is empty"),
        ('word,tag\n",O\nx,O\ny",O\n', {}, ":2: a cell holds a line end; expected one line a word"),
        ('word,tag\na,O\n",O\nx,O\n', {}, ":3: not a row of CSV (unexpected end of data)"),
        ('word,tag\n"a"b,O\n', {}, ":2: not a row of CSV (',' expected after '\"')"),
        ("word,tag\n", {}, ": no sentence below its header; expected one word a row"),
        ("word,tag\na,O\n", {"tag_column": "tga"}, ":1: no column is called 'tga'; did you mean"),
        ("word,tag\na,O\n", {"tag_column": 2}, ":1: no column 2: there are 2; name it with data.t"),
        ("word,tag\na,O\n", {"tag_column": 0}, ":1: words and tags are both in 'word'; expected t"),
        ("a,b\nx,O\n", {"format": "csv"}, ":1: the header has no 'token', 'tokens', 'word'"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_an_error_with_its_line(read, text, options, message):
    with pytest.raises(UserError) as caught:
        read(text, **options)
    assert "x.csv" + message in str(caught.value)


def test_the_separator_of_a_table_is_one_character(read):
    assert read("word~tag\na~O\n", format="csv", separator="~").words == [["a"]]
    with pytest.raises(UserError, match="data.separator='~~': expected one character for a CSV"):
        read("word,tag\na,O\n", format="csv", separator="~~")
