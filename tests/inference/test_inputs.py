"""Reading inputs: every kind of file, one at a time, with the place of each."""

import gzip
import io

import pytest

from bigjax.errors import UserError
from bigjax.inference import inputs
from bigjax.inference.inputs import Reading


def read(path, *, takes="text", **reading):
    return list(inputs.read(str(path), takes=takes, reading=Reading(**reading)))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_text_file_is_one_document_with_places_of_characters(tmp_path):
    text = "Größe 𝒳!! Paris is big.\r\n\r\nEnd\0 of it"
    path = written(tmp_path, "a.txt", "\ufeff" + text)
    found = [given.value for given in read(path)]
    assert [text[start : start + len(piece)] for start, piece in found] == [p for _, p in found]
    assert [piece for _, piece in found] == ["Größe 𝒳!!", "Paris is big.", "End\0 of it"]


def test_lines_are_texts_and_empty_ones_too(tmp_path):
    path = written(tmp_path, "a.txt", "one\r\n\ntwo")
    found = read(path, kind="lines")
    assert [(given.value, given.place) for given in found] == [
        ("one", f"{path}:1"), ("", f"{path}:2"), ("two", f"{path}:3"),
    ]  # fmt: skip
    assert found[-1].read == path.stat().st_size == inputs.size(str(path), takes="text")
    wide = written(tmp_path, "b.txt", "one\r\n\ntwo".encode("utf-16"))
    assert [g.value for g in read(wide, kind="lines", encoding="utf-16")] == ["one", "", "two"]


def test_a_task_may_read_files_of_an_ending_otherwise(tmp_path):
    endings = {"": "lines", ".tsv": "csv"}
    told = {"a.txt": "one\ntwo", "a.tsv": "text\tn\nthree\t4", "a.jsonl": '{"text": "five"}'}
    found = [read(written(tmp_path, name, text), endings=endings) for name, text in told.items()]
    values = [given.value for of_file in found for given in of_file]
    assert values == ["one", "two", {"text": "three", "n": "4"}, {"text": "five"}]


def test_a_line_that_cannot_be_read_is_told_and_the_next_one_is_read(tmp_path):
    lines = b'{"text": "a"}\n{"text": \n\n[1]\n"b"\n\xff\n{"text": "c"}'
    found = read(written(tmp_path, "a.jsonl", lines))
    broken = [given for given in found if given.problem]
    assert [given.value for given in found if not given.problem] == [
        {"text": "a"}, [1], "b", {"text": "c"}
    ]  # fmt: skip
    assert [(given.place.rpartition(":")[2], given.problem[:13]) for given in broken] == [
        ("2", "not JSON (Exp"), ("6", "is not utf-8 "),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content", ['[{"text": "a"},\n {"text": "b"}]', '\n[\n{"text": "a"\n}, {"text": "b"}]']
)
def test_a_list_of_records_is_read_as_lines_are(tmp_path, content):
    found = read(written(tmp_path, "a.json", content))
    assert [given.value for given in found] == [{"text": "a"}, {"text": "b"}]
    with pytest.raises(UserError, match=r"a.json:\d: not JSON"):
        read(written(tmp_path, "a.json", content[:-1] + ", {"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("EU NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\n", [["EU", "rejects"], ["Peter"]]),
        ("-DOCSTART- -X- O\n\nEU\tB-ORG\n", [["EU"]]),
        ("EU\nrejects\n\nPeter", [["EU", "rejects"], ["Peter"]]),
        ("# id = 1\n1\tThe" + "\tx" * 8 + "\n2-3\tcats'" + "\t_" * 8 + "\n", [["The"]]),
        ("\n\n", []),
    ],
)  # fmt: skip
def test_columns_give_words_with_tags_or_without(tmp_path, content, expected):
    path = written(tmp_path, "a.conll", content)
    assert [given.value for given in read(path)] == expected


def test_a_table_is_rows(tmp_path):
    path = written(tmp_path, "a.csv", 'a,b\n1,"x, y"\n2\n3,z\n')
    found = read(path, takes="row")
    assert [given.value for given in found if not given.problem] == [
        {"a": "1", "b": "x, y"}, {"a": "3", "b": "z"}
    ]  # fmt: skip
    assert [given.problem.split(": ")[0] for given in found if given.problem] == [f"{path}:3"]


def test_a_table_with_a_word_a_row_gives_the_words_of_sentences(tmp_path):
    path = written(tmp_path, "a.csv", "Sentence #,Word,Tag\n1,EU,B-ORG\n,says,O\n2,Bye,O\n")
    assert [given.value for given in read(path)] == [["EU", "says"], ["Bye"]]
    assert read(written(tmp_path, "b.csv", "ID,Text\n1,x\n"))[0].value == {"ID": "1", "Text": "x"}


def test_several_files_and_patterns_come_in_order(tmp_path):
    for name in "ba":
        written(tmp_path, f"{name}.txt", name)
    for source in (f"{tmp_path}/a.txt,{tmp_path}/b.txt", f"{tmp_path}/*.txt"):
        assert [
            given.value.text for given in inputs.read(source, takes="text", reading=Reading())
        ] == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "takes", "problem"),
    [
        ("absent.txt", "text", "no such file"),
        ("*.nothing", "text", "no such file"),
        (".", "text", "is a folder"),
        (".", "image", "holds no image file"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path, monkeypatch, source, takes, problem):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{problem}"):
        read(source, takes=takes)


def test_a_document_that_is_no_text_says_on_which_line(tmp_path):
    path = written(tmp_path, "a.txt", gzip.compress(b"text") + b"\n\n")
    with pytest.raises(UserError, match=r"a.txt:1: is not utf-8 \(byte 0x8b\)"):
        read(path)
    with pytest.raises(UserError, match="Python has no such encoding"):
        read(path, encoding="utf-9")
    with pytest.raises(UserError, match="--input_format=csv: valid: images"):
        read(path, takes="image", kind="csv")


def test_no_more_is_read_than_is_asked_for(tmp_path):
    path = written(tmp_path, "a.txt", "One sentence here. " * 100_000)
    found = inputs.read(str(path), takes="text", reading=Reading())
    assert next(found).read < 200_000


def test_standard_input_is_read_like_a_file(monkeypatch, tmp_path):
    path = written(tmp_path, "in", "One. Two.")
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert [given.value.text for given in read("-")] == ["One.", "Two."]
    assert inputs.size("-", takes="text") is None
    monkeypatch.setattr("sys.stdin", io.StringIO("a.png\nb.png\n"))
    assert [given.value for given in read("-", takes="image")] == ["a.png", "b.png"]
