"""What files say of a sentence beside words and labels, against the files as they were written."""

import json

import numpy as np
import pytest

from bigjax.data.text import class_files, recognise, splitting
from bigjax.data.text.class_files import Reading
from bigjax.errors import UserError

RECORDS = [
    {"text": "A storm came", "label": "b", "user": "ann", "meta": {"place": "Oslo"}},
    {"text": "Rain again", "label": "a", "user": "bob", "meta": {"place": None}},
    {"text": "No wind", "label": "b", "user": 7, "meta": {"place": "Rome"}},
]


@pytest.fixture
def in_folder(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def lines(records):
    return "".join(json.dumps(record) + "\n\n" for record in records)


def test_a_key_of_json_records_also_inside_an_object(in_folder):
    found = class_files.read(in_folder("a.jsonl", lines(RECORDS)), Reading())
    assert found.column("user") == ["ann", "bob", "7"]
    assert found.column("meta.place") == ["Oslo", "", "Rome"]
    with pytest.raises(UserError, match=r"a\.jsonl:1: has no 'usr'; did you mean 'user'"):
        found.column("usr")


def test_records_that_share_a_line_each_have_their_own(in_folder):
    """As `json.dump` writes a list."""
    tagged = [{"tokens": [f"w{i}"], "tags": ["O"], "who": f"p{i}"} for i in range(40)]
    found = recognise.read(in_folder("a.json", json.dumps(tagged)))
    for part in splitting.hold_out(found, fraction=0.3):
        assert part.column("who") == [f"p{words[0][1:]}" for words in part.words]
    found = class_files.read(in_folder("b.json", json.dumps(RECORDS)), Reading())
    assert found.column("user") == ["ann", "bob", "7"]


def test_records_that_are_left_out_need_no_key(in_folder):
    spans = {"text": "Ann sings", "spans": [], "answer": "accept", "meta": {"author": "x"}}
    rejected = {"text": "Oslo", "spans": [], "answer": "reject"}
    found = recognise.read(in_folder("a.jsonl", lines([rejected, spans])))
    assert found.column("meta.author") == ["x"]
    with pytest.raises(UserError, match=r"a\.jsonl:3: has no 'author'; did you mean 'meta.author'"):
        found.column("author")


def test_a_text_with_a_second_object_is_a_record(in_folder):
    texts = [["Ann sings", {"entities": [[0, 3, "PER"]], "who": "x"}], ["Oslo", {"entities": []}]]
    assert recognise.read(in_folder("a.json", json.dumps(texts[:1]))).column("who") == ["x"]
    with pytest.raises(UserError, match=r"b\.json:1: has no 'who'; valid: text"):
        recognise.read(in_folder("b.json", json.dumps(texts))).column("who")


@pytest.mark.parametrize("name", ["whole", "whole.list", "whole.one"])
def test_what_is_no_single_value_is_an_error(name, in_folder):
    record = {"text": "x", "label": "a", "whole": {"list": ["a"], "one": {"b": 1}}}
    found = class_files.read(in_folder("a.jsonl", lines([record])), Reading())
    with pytest.raises(UserError, match=rf"a\.jsonl:1: '{name}' is .*expected the key of a text"):
        found.column(name)
    assert found.column("whole.one.b") == ["1"]


def test_a_file_that_changed_is_an_error(in_folder):
    found = class_files.read(in_folder("a.jsonl", lines(RECORDS)), Reading())
    in_folder("a.jsonl", lines(RECORDS[:1]))
    with pytest.raises(UserError, match=r"a\.jsonl: has other lines than when it was first read"):
        found.column("user")


def test_a_key_with_a_dot_in_it_is_found_as_it_is(in_folder):
    found = class_files.read(
        in_folder("a.jsonl", '{"text": "x", "label": "a", "a.b": "c"}\n'), Reading()
    )
    assert found.column("a.b") == ["c"]


def test_a_column_of_a_table_with_line_ends_in_cells(in_folder):
    path = in_folder("a.csv", 'text;label;site\n"one\ntwo";x; north \nthree;y;south\n;x;\n')
    assert class_files.read(path, Reading()).column("site") == ["north", "south", ""]
    with pytest.raises(UserError, match=r"a\.csv: has no 'place'"):
        class_files.read(path, Reading()).column("place")


def test_words_in_a_table_have_what_stands_at_the_first_word_of_their_sentence(in_folder):
    text = "sentence_id,word,tag,author\n1,Ann,B-PER,x\n1,sings,O,other\n\n2,Oslo,B-LOC,y\n"
    assert recognise.read(in_folder("a.csv", text)).column("author") == ["x", "y"]


def test_quotes_are_words_like_others_in_tab_separated_tables(in_folder):
    text = 'sentence_id\tword\ttag\twho\n1\t"\tO\tx\n1\tAnn\tB-PER\tz\n2\t5"\tO\ty\n'
    assert recognise.read(in_folder("a.tsv", text)).column("who") == ["x", "y"]


def test_a_column_that_is_there_twice_is_an_error(in_folder):
    found = recognise.read(in_folder("a.csv", "word,tag,who,who\nAnn,B-PER,x,y\n"))
    with pytest.raises(UserError, match=r"a\.csv: has 'who' twice"):
        found.column("who")


def test_sentences_that_are_joined_and_held_out_keep_theirs(in_folder):
    tagged = [
        {"tokens": [f"w{i}", "x"], "ner_tags": ["O", "O"], "who": f"p{i % 3}"} for i in range(40)
    ]
    one = recognise.read(in_folder("a.jsonl", lines(tagged[:25])))
    two = recognise.read(in_folder("b.jsonl", lines(tagged[25:])))
    train, dev = splitting.hold_out(splitting.join([one, two]), fraction=0.3)
    assert len(dev.words) and len(train.words) + len(dev.words) == 40
    for part in (train, dev):
        expected = [f"p{int(words[0][1:]) % 3}" for words in part.words]
        assert part.column("who") == expected
        files = ["b.jsonl" if int(words[0][1:]) >= 25 else "a.jsonl" for words in part.words]
        assert [path.rsplit("/")[-1] for path in part.column("file")] == files


def test_documents_of_columns_and_nothing_else_of_them(in_folder):
    text = "-DOCSTART- O\n\nAnn B-PER\n\nsings O\n\n-DOCSTART- O\n\nOslo B-LOC\n"
    found = recognise.read(in_folder("a.conll", text))
    first, second, third = found.column("document")
    assert first == second != third
    with pytest.raises(UserError, match="has no column 'author'.*there is 'file' and 'document'"):
        found.column("author")


def test_folders_of_classes_have_files_alone(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(f"text of {name}")
    found = class_files.read(str(tmp_path), Reading())
    assert len(np.unique(found.column("file"))) == 2
    with pytest.raises(UserError, match="has no column 'author'"):
        found.column("author")
