"""Plain text as documents: paragraphs, lines, whole files, records, records of TFDS; and what is
held out."""

import json

import pytest

from bigjax.errors import UserError
from bigjax.tasks.masked_lm.documents import (
    Documents,
    embedded_news,
    hold_out,
    prepared_tfds,
    text_files,
)

TEXT = "\ufeffOne line\r\nand another\r\n\r\n \t\r\nSecond\u2028still\n\n\n  Third  "


def read(path, **given):
    return text_files(train=str(path), dev_fraction=0.0, **given)["train"]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("paragraphs", ["One line\nand another", "Second\u2028still", "Third"]),
        ("lines", ["One line", "and another", "Second\u2028still", "Third"]),
        ("files", ["One line\r\nand another\r\n\r\n \t\r\nSecond\u2028still\n\n\n  Third"]),
    ],
)
def test_a_text_file_is_parted_into_documents(documents, expected, tmp_path):
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    assert read(tmp_path / "a.txt", documents=documents).texts == expected
    (tmp_path / "b.txt").write_bytes(TEXT.encode("utf-16"))
    found = read(tmp_path / "b.txt", documents=documents, encoding="utf-16")
    assert found.texts == expected and len(found.fingerprint()) == 64


def test_records_hold_texts_under_usual_names_or_the_one_that_is_named(tmp_path):
    lines = [{"text": " a "}, {"content": "b\n\nc"}, "d", {"text": "  "}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    found = read(path)
    assert found.texts == ["a", "b\n\nc", "d"] and found.num_blank == 1
    path.write_text(json.dumps({"body": "e", "text": "f"}) + "\n")
    assert read(path, text_key="body").texts == ["e"]
    path.rename(tmp_path / "a.data")
    assert read(tmp_path / "a.data", format="jsonl").texts == ["f"]


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        (b"", {}, "holds no text"),
        (b" \n\n", {"documents": "files"}, "holds no text"),
        (b"ok\n\xff", {}, "a.txt:2: expected UTF-8, found byte 0xff"),
        (b"ok", {"encoding": "utf-99"}, "no such encoding"),
        (b'{"text": 1}', {"format": "jsonl"}, "a.txt:1: expected a text as 'text'"),
        (b'{"a": "b"}', {"format": "jsonl"}, "found 'a'; name its key with --config.data.text_key"),
        (b"[1]", {"format": "jsonl"}, r"expected an object with a text, found '\[1\]'"),
        (b'"x"\nnot', {"format": "jsonl"}, "a.txt:2: not JSON"),
        (b"[" * 99999, {"format": "jsonl"}, "a.txt:1: not JSON"),
        (b'{"text": "\\ud800"}', {"format": "jsonl"}, "half a character"),
    ],
)
def test_what_is_no_text_is_said_with_its_place(content, given, message, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.txt", **given)


def test_files_that_are_not_there_or_there_twice_are_errors(tmp_path):
    with pytest.raises(UserError, match="no file matches; expected a path or a pattern"):
        read(tmp_path / "*.txt")
    with pytest.raises(UserError, match="data.train is empty"):
        text_files(train="")
    with pytest.raises(UserError, match=r"is a folder; expected files, as '.*/\*.txt'"):
        text_files(train=str(tmp_path))
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UserError, match="is there twice"):
        text_files(train=f"{tmp_path}/a.txt,{tmp_path}/a.txt")


def test_what_is_held_out_goes_by_the_text_alone():
    texts = [f"document {i % 80}" for i in range(100)]
    rest, held = hold_out(Documents(texts, "a.txt"), fraction=0.2)
    again, _ = hold_out(Documents(texts[::-1], "b.txt"), fraction=0.2)
    assert sorted(again.texts) == sorted(rest.texts)
    assert not {*rest.texts} & {*held.texts} and 10 <= len(held.texts) <= 30
    assert len(rest.texts) + len(held.texts) == 100
    with pytest.raises(UserError, match="none of them; expected a share .* smaller documents"):
        hold_out(Documents(["one"], "a.txt"), fraction=0.2)


def test_only_the_splits_that_are_asked_for_are_read(tmp_path):
    (tmp_path / "dev.txt").write_text("a\n\nb")
    given = {"train": str(tmp_path / "gone.txt"), "dev": str(tmp_path / "dev.txt")}
    assert list(text_files(**given, only=("dev", "test"))) == ["dev"]
    with pytest.raises(UserError, match="gone.txt"):
        text_files(**given)
    assert list(embedded_news(num_train=3, num_dev=2, only=("dev",))) == ["dev"]


def test_records_of_tfds_are_documents(shared_data):
    pytest.importorskip("tensorflow_datasets")
    given = {"name": "wikiann/en", "data_dir": str(shared_data / "tfds"), "train": "train[:40]"}
    found = prepared_tfds(**given, text="tokens", dev="validation[:5]")
    assert list(found) == ["train", "dev"] and len(found["dev"].texts) == 5
    assert all(" " in text for text in found["train"].texts[:5])
    with pytest.raises(UserError, match="no feature 'txt'"):
        prepared_tfds(**given, text="txt")
    with pytest.raises(UserError, match="expected text, or words"):
        prepared_tfds(**given, text="tags")
