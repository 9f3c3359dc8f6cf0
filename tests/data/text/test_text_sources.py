"""The user's files as splits: one, several or a pattern, and parted where one is missing."""

import pytest

from bigjax.data.text.text_sources import SOURCES, annotation_files
from bigjax.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """a.conll to c.conll, 20 sentences each, and d.jsonl with one."""
    for name in "abc":
        lines = (f"{name}{i} B-X\nis O\n\n" for i in range(20))
        (tmp_path / f"{name}.conll").write_text("".join(lines))
    (tmp_path / "d.jsonl").write_text('{"text": "Ada is", "spans": [[0, 3, "X"]]}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(**given):
    return annotation_files(**given)


def sizes(splits) -> dict[str, int]:
    return {split: len(found.words) for split, found in splits.items()}


@pytest.mark.parametrize(
    "train",
    [
        ("a.conll", "b.conll", "c.conll"),
        "a.conll,b.conll,c.conll",
        "*.conll",
        ("a.conll", "[bc].conll"),
    ],
)
def test_a_split_may_be_several_files_read_in_order(train):
    splits = read(train=train, dev="d.jsonl")
    assert sizes(splits) == {"train": 60, "dev": 1}
    assert [words[0] for words in splits["train"].words[::20]] == ["a0", "b0", "c0"]
    assert splits["train"].origin.place(41) == "c.conll:4"


def test_what_each_file_was_recognised_as_is_printed(capsys):
    read(train="a.conll", dev="d.jsonl")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("read a.conll: format: columns; separator: blanks; columns: 2")
    assert second.startswith("read d.jsonl: format: JSON records; records: 1 'text' with 'spans'")


def test_a_name_that_looks_like_a_pattern_or_a_list_is_a_file_where_there_is_one(folder):
    for name in ("x[1].conll", "a.conll,b.conll"):
        (folder / name).write_text("w B-X\n")
        assert read(train="c.conll", dev=name)["dev"].words == [["w"]]


def test_without_dev_a_share_of_train_is_dev_also_where_only_dev_is_asked_for():
    splits = read(train="*.conll", test="d.jsonl", dev_fraction=0.2)
    assert sizes(splits) == {"train": 48, "dev": 12, "test": 1}
    assert read(train="*.conll", dev_fraction=0.2, only=["dev"])["dev"].words == splits["dev"].words
    assert sizes(read(train="a.conll", dev_fraction=0.0)) == {"train": 20}
    assert sizes(read(train="none.conll", dev="a.conll", test="b.conll", only=["dev", "test"])) == {
        "dev": 20,
        "test": 20,
    }


def test_folds_make_test_of_train_and_each_sentence_is_tested_once():
    tested = []
    for fold in range(4):
        splits = read(train="*.conll", folds=4, fold=fold, dev_fraction=0.2)
        assert sizes(splits) == {"train": 36, "dev": 9, "test": 15}
        tested += [words[0] for words in splits["test"].words]
    assert len(set(tested)) == len(tested) == 60
    assert sizes(read(train="*.conll", dev="d.jsonl", folds=4, only=["test"])) == {"test": 15}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": ""}, "data.train is empty: give a file with --config.data.train=PATH"),
        ({"train": "a.conll", "dev": ""}, "data.dev is empty: give a file with --config.data.dev"),
        ({"train": "*.bio"}, "data.train='*.bio': no file matches; expected a path or a pattern"),
        ({"train": "x.conll"}, "x.conll: No such file or directory; expected a file of annotated"),
        ({"train": "a.conll,*.conll"}, "data.train: a.conll is there twice; expected each"),
        ({"train": "a.conll", "folds": 3, "test": "b.conll"}, "data.folds makes test of train;"),
        ({"train": "a.conll", "folds": 3, "fold": 3}, "data.fold=3: expected 0 to 2 of data.fold"),
        ({"train": "a.conll", "dev_fraction": 0.01}, "data.dev_fraction=0.01 of the 20 sentences"),
    ],
)  # fmt: skip
def test_files_and_shares_that_cannot_be_are_errors_of_one_line(given, message):
    with pytest.raises(UserError) as caught:
        read(**given)
    assert str(caught.value).startswith(message)


def test_the_source_has_two_names():
    assert SOURCES["conll"] is SOURCES["files"]
