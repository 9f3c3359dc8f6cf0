"""Prediction from file to file: formats, broken inputs, and a killed one that is continued."""

import json
import os

import pytest
from finished import WORDS
from tiny_runs import one_device

from bigjax.data.text import recognise
from bigjax.engine import sharding
from bigjax.errors import UserError
from bigjax.inference import output, predictor
from bigjax.modes import predict
from bigjax.modes.flags import Flags
from bigjax.modes.predict import Asked
from bigjax.modes.run import run


@pytest.fixture
def asks(finished_run, monkeypatch):
    """Predicts with the finished run, which is loaded once."""
    workdir = str(finished_run[0])
    if not _loaded:
        monkeypatch.setattr(sharding, "make_mesh", one_device)
        _loaded.append(predictor.load(workdir))
    monkeypatch.setattr(predict, "load", lambda *_, **__: _loaded[0])
    monkeypatch.setattr(predictor, "_PIECE_INPUTS", {"text": 8})
    return lambda source, **asked: predict.predict(
        workdir, asked=Asked(str(source), **asked), overrides={}
    )


_loaded: list = []


@pytest.fixture
def source(tmp_path):
    """Lines of 40 records, each other words."""
    path = tmp_path / "in.jsonl"
    records = ({"id": i, "text": " ".join([*WORDS][i % 5 :])} for i in range(40))
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def records_in(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_answers_come_in_order_and_keep_what_else_was_there(asks, source, tmp_path):
    asks(source, output=str(tmp_path / "out.jsonl"))
    found = records_in(tmp_path / "out.jsonl")
    assert [record["id"] for record in found] == list(range(40))
    assert all(set(record) == {"id", "text", "entities"} for record in found)
    assert not list(tmp_path.glob("out.jsonl.*"))


@pytest.mark.parametrize("num_pieces", [1, 3])
@pytest.mark.parametrize("torn", [b"", b'{"id": 7, "te'])
def test_a_killed_prediction_is_continued_to_the_same_bytes(
    asks, source, tmp_path, monkeypatch, capsys, num_pieces, torn
):
    out = tmp_path / "out.jsonl"
    asks(source, output=str(out))
    expected = out.read_bytes()
    out.unlink()
    with monkeypatch.context() as patch:
        write, written = output.Output.write, []

        def until_killed(self, text, *, mark):
            if len(written) == num_pieces:
                raise KeyboardInterrupt
            written.append(mark)
            write(self, text, mark=mark)

        patch.setattr(output.Output, "write", until_killed)
        with pytest.raises(KeyboardInterrupt):
            asks(source, output=str(out))
    assert not out.exists()
    with open(f"{out}.part", "ab") as file:
        file.write(torn)
    with open(f"{out}.journal", "a") as file:
        file.write(torn.decode())
    asks(source, output=str(out))
    assert f"continuing after {8 * num_pieces} inputs" in capsys.readouterr().err
    assert out.read_bytes() == expected


def test_what_was_begun_with_other_inputs_or_another_way_is_not_continued(
    asks, source, tmp_path, monkeypatch
):
    out = str(tmp_path / "out.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(output.Output, "finish", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            asks(source, output=out)
    with pytest.raises(UserError, match=r"out.jsonl.part is of another prediction \(--skip_bad"):
        asks(source, output=out, skip_bad=True)
    source.write_text(source.read_text().replace("Anna", "Bob", 1))
    with pytest.raises(UserError, match="the first 40 inputs are not those whose answers are writ"):
        asks(source, output=out)


def test_a_broken_line_is_an_error_with_its_place_or_is_left_out_and_named(
    asks, source, tmp_path, capsys
):
    lines = source.read_text().splitlines()
    lines[3], lines[12] = '{"text": ', '{"txt": "a"}'
    source.write_text("\n".join(lines))
    out = tmp_path / "out.jsonl"
    with pytest.raises(UserError, match=r"in.jsonl:4: not JSON .*; --skip_bad leaves such"):
        asks(source, output=str(out))
    os.remove(f"{out}.part")
    asks(source, output=str(out), skip_bad=True)
    said = capsys.readouterr().err
    assert "38 answers" in said and "left out 2 broken inputs: " in said
    assert "in.jsonl:4: not JSON" in said and "in.jsonl:13: expected 'text' or 'tokens'" in said
    assert [record["id"] for record in records_in(out)] == [
        i for i in range(40) if i not in (3, 12)
    ]  # fmt: skip


def test_columns_are_read_back_as_what_was_predicted(asks, source, tmp_path):
    asks(source, output=str(tmp_path / "out.conll"))
    asks(source, output=str(tmp_path / "out.jsonl"))
    found = recognise.read(tmp_path / "out.conll")
    records = records_in(tmp_path / "out.jsonl")
    assert [" ".join(words) for words in found.words] == [record["text"] for record in records]
    begins = [sum(tag[0] == "B" for tag in tags) for tags in found.tags]
    assert begins == [len(record["entities"]) for record in records] and sum(begins)


def test_a_table_has_a_row_for_each_entity(asks, source, tmp_path):
    asks(source, output=str(tmp_path / "out.csv"))
    head, *rows = (tmp_path / "out.csv").read_text().splitlines()
    asks(source, output=str(tmp_path / "out.jsonl"))
    assert head == "type,start,end,text,score,context"
    assert len(rows) == sum(len(r["entities"]) for r in records_in(tmp_path / "out.jsonl"))


def test_a_document_is_shown_marked_on_a_terminal(asks, tmp_path, capsys, monkeypatch):
    path = tmp_path / "doc.txt"
    path.write_text("Anna met Bob\x1b[31m.\n\nIn Paris.")
    asks(path, format="terminal")
    shown = capsys.readouterr().out
    assert "\033[30;4" in shown and "\x1b[31m" not in shown and len(shown.splitlines()) == 2
    monkeypatch.setenv("NO_COLOR", "1")
    asks(path)
    assert [json.loads(line)["start"] for line in capsys.readouterr().out.splitlines()] == [0, 20]


@pytest.mark.parametrize(
    ("flags", "overrides", "problem"),
    [
        ({}, [], "needs --input=FILE"),
        ({"input": "absent.txt"}, [], "--input=absent.txt: no such file"),
        (
            {"input": "in.jsonl", "format": "xml"},
            [],
            "--format=xml: valid: conll, csv, jsonl",
        ),
        ({"input": "in.jsonl", "config": "x.py"}, [], "--config does not go with --mode=predict"),
        ({"input": "in.jsonl", "strict": True}, [], "--strict goes with --mode=check, not with"),
        ({"input": "in.jsonl", "output": "no/such/out"}, [], "--output=no/such/out: cannot be wri"),
    ],
)
@pytest.mark.usefixtures("asks", "source")
def test_flags_that_do_not_fit_are_one_line(tmp_path, monkeypatch, flags, overrides, problem):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=problem):
        run(Flags("predict", workdir="run", **flags), overrides=overrides)
