"""Texts with their classes in files: what is read, and what is said of what cannot be."""

import json

import pytest

from bigjax.data.text import class_inspection, class_sources, news, windowing
from bigjax.data.text.class_files import Reading, read
from bigjax.errors import UserError


def told(found) -> list[tuple[str, list[str]]]:
    return [(" ".join(words), classes) for words, classes in zip(found.words, found.tags)]


def test_quoted_cells_hold_commas_quotes_and_line_ends(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('Label,TEXT\ngood,"One, two\nand ""three"""\nbad,"four"\n', encoding="utf-8")
    found = read(str(path), Reading())
    assert told(found) == [('One, two and "three"', ["good"]), ("four", ["bad"])]
    assert [found.origin.place(i) for i in (0, 1)] == [f"{path}:2", f"{path}:4"]


@pytest.mark.parametrize(
    ("name", "content", "reading", "expected"),
    [
        ("a.tsv", "review\tsentiment\nso so\t1\n", {}, [("so so", ["1"])]),
        ("a.csv", "text;label\nx;0\n", {"names": ("no", "yes")}, [("x", ["no"])]),
        ("a.csv", "q,a,b\nx,b|c,\n", {"text_column": "q", "label_column": "a", "separator": "|"},
         [("x", ["b", "c"])]),
        ("a.csv", "text,toxic,rude\nx,1,0\ny,0,0\n", {"label_column": ("toxic", "rude")},
         [("x", ["toxic"]), ("y", [])]),
        ("a.csv", "text,toxic,rude\nx,1,0\ny,0,0\n", {"label_column": "toxic,rude"},
         [("x", ["toxic"]), ("y", [])]),
        ("a.csv", "x,b\n", {"header": False, "text_column": "column_1", "label_column": "column_2"},
         [("x", ["b"])]),
        ("a.jsonl", '{"text": "x  y\\n", "label": 1}\n\n{"text": "", "label": ["a", "b"]}\n', {},
         [("x y", ["1"]), ("", ["a", "b"])]),
        ("a.json", '[{"sentence": "x", "intent": " go  on "}]', {}, [("x", ["go on"])]),
    ],
)  # fmt: skip
def test_columns_are_found_by_their_names_or_named(tmp_path, name, content, reading, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert told(read(str(tmp_path / name), Reading(**reading))) == expected


def test_a_folder_has_a_sub_folder_for_each_class(tmp_path):
    for name, texts in {"pos": ["good\nfilm"], "neg": ["bad", "worse"]}.items():
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i}.txt").write_text(text)
    found = read(str(tmp_path), Reading())
    assert told(found) == [("bad", ["neg"]), ("worse", ["neg"]), ("good film", ["pos"])]
    assert found.origin.place(2) == f"{tmp_path}/pos/0.txt:1"


@pytest.mark.parametrize(
    ("name", "content", "reading", "message"),
    [
        ("a.csv", "text,mood\nx,1\n", {}, "a.csv: no column is called as a label is; say which"),
        ("a.csv", "text,label\nx,1\n", {"text_column": "txt"}, "a.csv: has no 'txt'; did you"),
        ("a.csv", "text,label\nx\n", {}, "a.csv:2: expected 2 cells"),
        ("a.csv", "text,a,b\nx,1,2\n", {"label_column": ("a", "b")}, "a.csv:2: 'b' is '2'; exp"),
        ("a.csv", "text,label\nx,2\n", {"names": ("no", "yes")}, "a.csv:2: class '2' is neither"),
        ("a.csv", "text,label\n", {}, "a.csv: holds no text"),
        ("a.jsonl", '{"text": 1, "label": 0}\n', {}, "a.jsonl:1: 'text' is no text"),
        ("a.jsonl", '{"text": "x", "label": {"a": 1}}\n', {}, "a.jsonl:1: 'label' is "),
        ("a.jsonl", "[1]\n", {}, "a.jsonl:1: expected an object"),
        ("a.xlsx", "", {}, "a.xlsx: expected a folder, or a file whose name ends in .csv"),
        ("a.jsonl", None, {}, "a.jsonl: cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_its_place(tmp_path, name, content, reading, message):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"^{tmp_path}/{message}"):
        read(str(tmp_path / name), Reading(**reading))


def test_dev_is_a_share_of_train_and_equal_texts_stay_together(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": f"text {i % 30}", "label": i % 3}) for i in range(60)]
    path.write_text("\n".join(lines))
    found = class_sources.class_tables(train=str(path), dev_fraction=0.2)
    train, dev = (found[split] for split in ("train", "dev"))
    assert len(train.words) + len(dev.words) == 60 and len(dev.words) >= 10
    assert not {*map(tuple, train.words)} & {*map(tuple, dev.words)}
    only = class_sources.class_tables(train=str(path), dev_fraction=0.2, only=("dev",))
    assert set(only) == {"dev"} and only["dev"].fingerprint() == dev.fingerprint()


def test_the_topic_of_an_embedded_sentence_is_what_it_was_written_about():
    few, more = news.read_topics(num_train=20), news.read_topics(num_train=40)
    assert told(few["train"]) == told(more["train"])[:20]
    assert {*few["test"].tags.distinct} == {
        "politics", "business", "sport", "culture", "crime", "weather", "science",
    }  # fmt: skip
    plain = [" ".join(words) for words in news.read(num_train=80)["train"].words]
    assert {text for text, _ in told(more["train"])} <= set(plain)


def test_texts_that_leak_contradict_or_are_of_rare_classes_are_findings(tmp_path):
    def split(name, rows):
        (tmp_path / name).write_text("text,label\n" + "".join(f"{t},{c}\n" for t, c in rows))
        return read(str(tmp_path / name), Reading())

    train = split("a.csv", [("one two", "x")] * 5 + [("one two", "y"), ("Three, 4", "x")][:1])
    splits = {"train": train, "dev": split("b.csv", [("One two!", "x"), ("five", "z")])}
    sentences = {name: windowing.np.arange(len(found.words)) for name, found in splits.items()}
    found = {one.what: one for one in class_inspection.findings(splits, window_sentences=sentences)}
    assert found["equal texts of different classes"].serious
    assert found["train: classes without a text"].places == ("z",)
    assert found["train: classes of fewer than 5 texts"].places == ("y (1)",)
    assert found["train: texts that were there before"].count == 5
    assert any(what.startswith("dev: texts that train has nearly so") for what in found)
