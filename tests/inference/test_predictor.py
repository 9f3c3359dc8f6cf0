"""A trained model in use: answers that evaluation counts, offsets that are exact, in any order of
calling."""

import json
import shutil
import threading
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from finished import WORDS
from tiny_runs import one_device

import bigjax
from bigjax.data.text import recognise
from bigjax.engine import sharding
from bigjax.errors import UserError
from bigjax.inference import opening, predictor
from bigjax.modes import evaluate

TEXT = "Anna met Bob in Paris. Rome met Anna!"


@pytest.fixture(scope="module")
def load():
    def loaded(place, **overrides):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sharding, "make_mesh", one_device)
            return bigjax.load(str(place), overrides=overrides)

    return loaded


@pytest.fixture(scope="module")
def model(load, finished_run):
    return load(finished_run[0])


def exact(answer) -> bool:
    return all(answer["text"][e["start"] : e["end"]] == e["text"] for e in answer["entities"])


def test_one_is_answered_alone_a_list_as_a_list_and_an_iterator_lazily(model):
    one = model(TEXT)
    assert one["text"] == TEXT and exact(one) and one["entities"]
    assert [set(e) for e in one["entities"]] == [{"type", "start", "end", "text", "score"}] * len(
        one["entities"]
    )
    assert model([TEXT, ["Anna", "met"]])[0] == one
    asked = []

    def texts():
        for _ in range(5000):
            asked.append(1)
            yield TEXT

    assert next(model(texts())) == one and len(asked) < 5000
    assert model([]) == [] and list(model(iter([]))) == []


def test_words_keep_their_places_and_blank_ones_have_no_tag(model):
    answer = model([["Anna", " ", "met ", "Paris"]])[0]
    assert answer["tokens"] == ["Anna", " ", "met ", "Paris"] and exact(answer)
    assert answer["tags"][1] == "O" and len(answer["tags"]) == 4
    assert answer["text"] == "Anna   met  Paris"
    assert model({"id": 7, "tokens": ["Anna"], "tags": ["O"]})["id"] == 7


def test_records_of_annotation_tools_are_texts(model):
    for record in ({"data": {"text": TEXT}, "annotations": [], "id": 3}, [TEXT, {"entities": []}]):
        answer = model([record])[0]
        assert answer["text"] == TEXT and answer["entities"] == model(TEXT)["entities"]
        assert "annotations" not in answer


@pytest.mark.parametrize("given", ["", " \n\t", "\u200b\u200e", [], [" "]])
def test_what_holds_no_word_holds_nothing(model, given):
    answer = model([given])[0]
    assert answer["entities"] == [] and len(answer.get("tags", [])) == len(answer.get("tokens", []))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (3, "input 2: expected a text or a list of words, found int '3'"),
        ({"txt": "a"}, "input 2: expected 'text' or 'tokens' in the record, found 'txt'"),
        ([1], "input 2: expected a text or a list of words, found list"),
    ],
)
def test_what_is_no_text_is_told_with_its_number(model, given, problem):
    with pytest.raises(UserError, match=problem):
        model([TEXT, given])


TEXTS = st.lists(
    st.text(st.characters(codec=None, categories=None), max_size=40)
    | st.sampled_from(["Anna met Bob.\r\n\r\nPa\0ris", "אנה Anna\u200f", "e\u0301" * 9]),
    max_size=4,
)


def check_texts(model, texts):
    answers = model(texts)
    assert [answer["text"] for answer in answers] == texts and all(map(exact, answers))
    assert list(model(iter(texts))) == answers
    for answer in answers:
        ends = [0] + [e["end"] for e in answer["entities"]]
        assert all(e["start"] >= end for e, end in zip(answer["entities"], ends))
        json.dumps(answer)


@hypothesis.given(TEXTS)
def test_offsets_are_exact_whatever_the_text_and_a_stream_gives_what_a_list_gives(model, texts):
    check_texts(model, texts)


@pytest.mark.slow
@hypothesis.settings(max_examples=2500)
@hypothesis.given(TEXTS)
def test_five_thousand_random_texts_have_exact_offsets(model, texts):
    check_texts(model, texts)


@pytest.mark.parametrize("kind", ["viterbi", "argmax"])
def test_predictions_of_a_split_are_those_that_evaluation_counts(load, finished_run, kind):
    workdir, config, _ = finished_run
    gold = recognise.read(config.flat()["data.test"])
    found = load(workdir, **{"decode.kind": kind})(list(gold.words))
    opened = opening.open_trained(str(workdir), overrides={"decode.kind": kind})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        scores = evaluate.score_run(opened.config, workdir=str(workdir))
    right = sum(len(spans_of(a["tags"]) & spans_of(t)) for a, t in zip(found, gold.tags))
    num_found = sum(len(answer["entities"]) for answer in found)
    assert num_found and scores["test/entity_precision"] == right / num_found
    assert scores["test/entity_recall"] == right / sum(map(len, map(spans_of, gold.tags)))


def spans_of(tags):
    from bigjax.data.text.tags import spans

    return set(spans(tags))


def test_threads_get_their_own_answers(model):
    texts = [" ".join(np.random.default_rng(i).choice([*WORDS], 5)) for i in range(24)]
    expected = [model(text) for text in texts]
    found = [None] * len(texts)

    def ask(first):
        for i in range(first, len(texts), 4):
            found[i] = model(texts[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_a_long_document_is_answered_as_its_parts_are(model, monkeypatch):
    texts = [f"{'Anna met Bob in Paris ' * 30}." for _ in range(6)]
    whole = model(" ".join(texts))
    assert exact(whole)
    alone = [(e["text"], e["type"]) for answer in model(texts) for e in answer["entities"]]
    assert [(e["text"], e["type"]) for e in whole["entities"]] == alone
    monkeypatch.setattr(predictor, "_PIECE_SIZE", 700)
    assert [(e["text"], e["type"]) for a in model(texts) for e in a["entities"]] == alone


def test_the_same_model_twice_answers_as_once_and_others_are_refused(
    load, model, finished_run, tmp_path
):
    workdir = finished_run[0]
    twice = load(f"{workdir},{workdir}")
    assert [
        {**e, "score": pytest.approx(e["score"], abs=1e-3)} for e in model(TEXT)["entities"]
    ] == twice(TEXT)["entities"]
    other = shutil.copytree(workdir, tmp_path / "other")
    tags = (other / "tags.txt").read_text()
    (other / "tags.txt").write_text(tags.replace("PER", "MAN"))
    with pytest.raises(UserError, match=r"cannot be averaged, tags.txt differ; expected models"):
        load(f"{workdir},{other}")


def test_a_hugging_face_folder_with_a_head_is_used_like_a_run(load, tiny_bert):
    found = load(tiny_bert)
    labels = json.loads((Path(tiny_bert) / "config.json").read_text())["id2label"]
    assert found.task.use.files["tags.txt"].split() == list(labels.values())
    answer = found(TEXT)
    assert answer["text"] == TEXT and exact(answer)


def test_a_hugging_face_folder_is_scored_with_data_of_the_users(
    tiny_bert, finished_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(sharding, "make_mesh", one_device)
    config, labels = finished_run[1], json.loads((Path(tiny_bert) / "config.json").read_text())
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    labels["id2label"] = {"0": "O", "1": "B-LOC", "2": "B-PER"}
    (copy / "config.json").write_text(json.dumps(labels))
    out = tmp_path / "scores"
    scores = evaluate.score_folder(config, place=str(copy), output=str(out))
    assert {"dev/entity_f1", "test/entity_f1"} <= set(scores) and (out / "report.html").exists()
    with pytest.raises(UserError, match="is a run; give a folder for the results alone"):
        evaluate.score_folder(config, place=str(copy), output=str(finished_run[0]))
    with pytest.raises(UserError, match="say with --output=DIR where results go"):
        evaluate.score_folder(config, place=str(copy), output=None)


def test_what_is_no_model_is_one_line(tmp_path, tiny_bert, load):
    copy = shutil.copytree(tiny_bert, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    with pytest.raises(UserError, match="its architecture is BertModel.; expected a run, or"):
        load(copy)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match=r"config.json: no such file; --workdir should be"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"--workdir='\./absent': no such folder"):
        load("./absent")


def test_the_temperature_of_a_run_changes_its_scores_and_nothing_else(load, finished_run, tmp_path):
    texts = [TEXT, "Bob in Rome", "in met in"]
    answers = {}
    for at in (None, 1.0, 4.0):
        copy = shutil.copytree(finished_run[0], tmp_path / str(at))
        (copy / "calibration.json").unlink()
        if at is not None:
            (copy / "calibration.json").write_text(json.dumps({"temperature": at}))
        answers[at] = load(copy)(texts)
    scores = {
        at: [e.pop("score") for answer in found for e in answer["entities"]]
        for at, found in answers.items()
    }
    assert answers[None] == answers[1.0] == answers[4.0] and len(scores[4.0]) > 2
    assert scores[None] == scores[1.0]
    assert all(cooler < score for cooler, score in zip(scores[4.0], scores[1.0]))
