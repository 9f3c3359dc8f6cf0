"""Explanations from the command line: what terminal and page say, and what is no question."""

import pytest
from finished import WORDS
from tiny_runs import one_device

from bigjax.engine import sharding
from bigjax.errors import UserError
from bigjax.inference import predictor
from bigjax.modes import explain
from bigjax.modes.predict import Asked

TEXT = f"<b>{' '.join(WORDS)}</b>"


@pytest.fixture(scope="module")
def loaded(finished_run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        return predictor.load(str(finished_run[0]))


@pytest.fixture
def explains(loaded, monkeypatch):
    monkeypatch.setattr(explain, "load", lambda *_, **__: loaded)
    return lambda **asked: explain.explain("runs/x", asked=Asked(**asked), overrides={})


def test_a_text_is_explained_on_the_terminal_and_in_a_page(explains, loaded, tmp_path, capsys):
    path = tmp_path / "why.html"
    explains(input=TEXT, output=str(path))
    entities = loaded(TEXT)["entities"]
    told, page = capsys.readouterr().out, path.read_text(encoding="utf-8")
    assert told.count("the parts sum to the difference") == len(entities) > 0
    assert page.count('<figure class="attribution">') == len(entities)
    for entity in entities:
        assert f"{entity['type']} {entity['score']:.2f}" in told
        assert f"<b>{entity['type']} {entity['score']:.2f}</b>" in page
    assert "<b>Anna" not in page and "&lt;" in page  # of the text, nothing is HTML


def test_only_the_first_inputs_of_a_file_are_explained(explains, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(explain, "MAX_INPUTS", 2)
    path = tmp_path / "in.txt"
    path.write_text("\n".join(["and of it", "\x1b[31mAnna met", "Bob"]), encoding="utf-8")
    explains(input=str(path), kind="lines")
    told = capsys.readouterr()
    assert "note: the first 2 inputs are explained" in told.err and "Bob" not in told.out
    assert "\x1b" not in told.out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "--mode=explain needs --input"),
        ({"input": "a b", "output": "why.pdf"}, "why.pdf: expected the name of a page, such as"),
        ({"input": "missing.txt"}, "--input=missing.txt: no such file"),
        ({"input": "a b", "output": "/nowhere/x.html"}, "/nowhere/x.html: cannot be written"),
    ],
)
def test_what_is_no_question_is_one_line(explains, asked, message):
    with pytest.raises(UserError, match=message):
        explains(**asked)


def test_what_several_models_or_a_task_without_questions_say_is_not_explained(loaded, monkeypatch):
    twice = predictor.dataclasses.replace(loaded, members=loaded.members * 2)
    use = loaded.task.use._replace(questions=None)
    mute = predictor.dataclasses.replace(loaded, task=loaded.task._replace(use=use))
    for model, message in ((twice, "only what one model says"), (mute, "cannot be explained")):
        monkeypatch.setattr(explain, "load", lambda *_, model=model, **__: model)
        with pytest.raises(UserError, match=message):
            explain.explain("x", asked=Asked(input="Anna met"), overrides={})
