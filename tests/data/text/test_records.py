"""JSON records of every tool: what is read, what is left out and counted, what is refused."""

import json

import pytest

from bigjax.data.text import recognise
from bigjax.data.text.recognise import Reading
from bigjax.data.text.tags import spans
from bigjax.errors import UserError


@pytest.fixture
def read(tmp_path):
    def read(*records, as_list=False, **options):
        path = tmp_path / "x.jsonl"
        texts = [r if isinstance(r, str) else json.dumps(r) for r in records]
        path.write_text("[" + ",\n".join(texts) + "]" if as_list else "\n".join(texts) + "\n")
        return recognise.read(path, Reading(**options))

    return read


@pytest.fixture
def read_error(read):
    def read_error(*records, **options) -> str:
        with pytest.raises(UserError) as caught:
            read(*records, **options)
        message = str(caught.value)
        assert "\n" not in message
        return message[message.find("x.jsonl") :]

    return read_error


def notes(found) -> dict[str, int]:
    return {note.what: note.count for note in found.origin.notes}


TEXT = "Ada met Zoë."


@pytest.mark.parametrize(
    "record",
    [
        {"text": TEXT, "spans": [{"start": 8, "end": 11, "label": "PER"}]},
        {"text": TEXT, "entities": [[8, 11, "PER"]]},
        {"text": TEXT, "label": [[8, 11, "PER"]]},
        {"text": TEXT, "labels": [[8, 11, "PER"]], "meta": {"a": [1]}},
        {"data": TEXT, "label": [[8, 11, "PER"]]},
        {"id": 1, "text": TEXT, "relations": [], "Comments": [],
         "entities": [{"id": 3, "label": "PER", "start_offset": 8, "end_offset": 11}]},
        {"text": TEXT, "label": [{"start": 8, "end": 11, "text": "Zoë", "labels": ["PER"]}]},
        [TEXT, {"entities": [[8, 11, "PER"]]}],
        {"text": TEXT, "tokens": [{"text": "Ada", "start": 0, "end": 3, "id": 0}],
         "spans": [{"start": 8, "end": 11, "label": "PER", "token_start": 2}]},
        {"text": TEXT, "tokens": [], "tags": None, "spans": [[8, 11, "PER"]]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("as_list", [False, True])
def test_a_text_with_spans_is_read_by_the_names_that_tools_give_them(read, record, as_list):
    found = read(record, record, as_list=as_list)
    assert found.words == [["Ada", "met", "Zoë", "."]] * 2
    assert found.tags == [["O", "O", "B-PER", "O"]] * 2
    assert found.origin.line.tolist() == [1, 2]
    assert found.origin.rule == "unicode-1"


@pytest.mark.parametrize(
    "record",
    [
        {"tokens": ["Ada", "sings"], "tags": ["B-PER", "O"]},
        {"words": ["Ada", "sings"], "ner": ["S-PER", "O"]},
        {"tokens": ["Ada", "sings"], "ner_tags": [1, 0], "chunk_tags": [3, 4]},
        {"text": "Ada sings", "tokens": ["Ada", "sings"], "tags": ["PER", "O"], "spans": []},
        {"tokens": ["Ada", " ", "sings "], "labels": ["b-PER", "o", "o"]},
    ],
)
def test_tokens_with_tags_are_read_as_they_are(read, record):
    options = {"tag_names": ("O", "B-PER")} if "ner_tags" in record else {}
    options |= {"scheme": "io"} if "PER" in record.get("tags", []) else {}
    found = read(record, **options)
    assert (found.words, found.tags) == ([["Ada", "sings"]], [["B-PER", "O"]])
    assert found.origin.rule == "pre-split"
    assert notes(found) == ({"blank words left out": 1} if "labels" in record else {})


def test_the_user_may_name_the_keys(read):
    record = {"tokens": ["a"], "raw": "Ada sang", "other": ["b", "c"], "pos": ["NN", "VB"],
              "tags": ["O"], "mine": [[0, 3, "PER"]]}  # fmt: skip
    assert read(record).words == [["a"]]
    found = read(record, token_column="other", tag_column="pos")
    assert (found.words, found.tags) == ([["b", "c"]], [["NN", "VB"]])
    found = read(record, token_column="raw", tag_column="mine")
    assert (found.words, found.tags) == ([["Ada", "sang"]], [["B-PER", "O"]])


def test_what_nobody_accepted_or_labelled_is_left_out_and_counted(read):
    found = read(
        {"text": "a", "spans": [], "answer": "accept"},
        {"text": "b", "spans": [], "answer": "reject"},
        {"text": "c", "spans": [], "answer": "ignore"},
        {"text": "d"},
        {"text": "e", "spans": None},
        {"tokens": ["f"]},
        {"text": " ", "spans": []},
        {"tokens": [], "tags": []},
    )
    assert found.words == [["a"]]
    assert notes(found) == {
        "records with the answer 'reject' left out": 1,
        "records with the answer 'ignore' left out": 1,
        "unlabelled records left out": 3,
        "records without words left out": 2,
    }


def test_offsets_in_utf16_are_noticed_where_the_text_of_the_span_is_given(read, read_error):
    text = "😀😀 Ada and Zoë"
    record = {"text": text, "spans": [{"start": 5, "end": 8, "label": "PER", "text": "Ada"}]}
    found = read(record)
    assert spans(found.tags[0]) == [(2, 3, "PER")]
    assert notes(found) == {"spans counted in UTF-16, read as characters": 1}
    record["spans"][0]["text"] = "Zoë"
    assert read_error(record).startswith(
        "x.jsonl:1: PER (5, 8) is 'a a' in the text, but the file says it is 'Zoë'; expected"
    )


def test_words_with_tags_and_texts_with_spans_may_stand_in_one_file(read, read_error):
    text = {"text": "Ada sang", "spans": [[0, 3, "PER"]]}
    found = read({"tokens": ["Zoë"], "tags": ["S-PER"]}, text)
    assert found.tags == [["B-PER"], ["B-PER", "O"]]
    assert found.origin.rule == "unicode-1"
    assert read_error(text, {"tokens": ["a", "b"], "tags": ["NN", "VB"]}).startswith(
        "x.jsonl:2: plain tags, and others of the file mark spans"
    )
    assert read_error(
        text, {"tokens": ["a", "b"], "tags": ["O", "I-PER"]}, scheme="iob2"
    ).startswith("x.jsonl:2: tag 'I-PER' cannot come after 'O' in IOB2")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (['{"text": "a", '], "x.jsonl:1: not JSON (Expecting property name"),
        (['{"text": "a"}', "a O"], "x.jsonl:2: not JSON (Expecting value at character 1)"),
        (['{"text": "a", "text": "b"}'], "x.jsonl:1: not JSON (key 'text' is there twice"),
        (['{"text": "\\ud83d", "spans": []}'], "x.jsonl:1: holds half a character, '\\ud83d'"),
        (['{"text": "a"}', "5"], "x.jsonl:2: expected an object with tokens and tags"),
        (['{"a": ' + "[" * 100_000], "x.jsonl:1: not JSON (nested too deeply)"),
        ([{"id": 1, "title": "x"}], "x.jsonl:1: expected 'tokens' with 'tags', or 'text' with 'sp"),
        ([{"text": "a", "label": "sport"}], "x.jsonl:1: 'label' is 'sport'; expected a list"),
        ([{"text": "a", "label": ["sport"]}], "x.jsonl:1: span sport; expected {start, end, la"),
        ([{"text": "a", "spans": [[0, 1]]}], "x.jsonl:1: span [0, 1]; expected {start"),
        ([{"text": "a", "spans": [[0, 1.0, "X"]]}], "x.jsonl:1: span [0, 1.0, 'X']; expected"),
        ([{"text": "a", "spans": [[False, 1, "X"]]}], "x.jsonl:1: span [False, 1, 'X']; exp"),
        ([{"text": "a", "spans": [{"start": 0, "end": 1}]}], "x.jsonl:1: span {'start': 0, 'end'"),
        ([{"text": "a", "spans": [[0, 1, "X\nY"]]}], "x.jsonl:1: tag 'X\\nY'; expected a name"),
        ([{"text": "a", "spans": [[0, 2, "X"]]}], "x.jsonl:1: X 'a' (0, 2) does not lie in the"),
        ([{"tokens": ["a"], "tags": ["O", "O"]}], "x.jsonl:1: 1 tokens and 2 tags; expected as"),
        ([{"tokens": ["a"], "tags": [0]}], "x.jsonl:1: 'tags' holds numbers; say what they mean"),
        ([{"tokens": ["a"], "tags": [None]}], "x.jsonl:1: tag 'None'; expected a name on one line"),
        ([{"text": "a"}], "x.jsonl: no sentence in it, unlabelled records left out: 1; expected"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_an_error_with_its_line(read_error, records, message):
    assert read_error(*records).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"text": "a", "spans": []}\n{"text"', "x.jsonl:2: not JSON (a comma or the end of"),
        ('[\n{"text": "a", "spans": []},\n', "x.jsonl:4: not JSON (Expecting value"),
        ('[{"text": "a", "spans": []}]\n]', "x.jsonl:1: something follows the end of the list"),
        ("[\n]\n", "x.jsonl: no sentence in it; expected"),
    ],
)  # fmt: skip
def test_a_list_that_is_cut_or_goes_on_is_an_error_with_its_line(read_error, text, message):
    assert read_error(text).startswith(message)


def test_all_spans_inside_words_are_counted_and_five_are_shown(read, read_error):
    records = [{"text": f"New{i}York", "spans": [[0, 3, "LOC"]]} for i in range(8)]
    message = read_error({"text": "fine", "spans": []}, *records)
    assert message.startswith(
        "x.jsonl:2: LOC 'New' (0, 3) starts or ends inside a word of 'New0York'"
    )
    assert "the first of 8" in message and message.count("x.jsonl:") == 5 and "3 more" in message
    assert "data.misaligned='expand'" in message
    grown = read(*records, misaligned="expand")
    assert grown.tags == [["B-LOC"]] * 8
    assert notes(grown) == {"spans that start or end inside a word, grown to whole words": 8}
    dropped = read(*records, misaligned="drop")
    assert dropped.tags == [["O"]] * 8
    assert notes(dropped) == {"spans that start or end inside a word, dropped": 8}
    assert len(dropped.origin.notes[0].places) == 5


# --- Label Studio ---


def task(*annotations, text="Ada sang", **more):
    return {"id": 7, "data": {"text": text, **more}, "annotations": list(annotations)}


def annotation(*found, **more):
    return {"result": [{"type": "labels", "value": one} for one in found], **more}


ADA = {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}
SANG = {"start": 4, "end": 8, "labels": ["ACT"]}


@pytest.mark.parametrize(
    ("annotations", "expected"), [("first", "PER"), ("last", "ACT"), ("ground_truth", "ACT")]
)
def test_which_of_several_annotations_counts_is_a_choice(read, read_error, annotations, expected):
    several = task(
        annotation(ADA), annotation(SANG, ground_truth=True), annotation(was_cancelled=True)
    )
    found = read(several, as_list=True, annotations=annotations)
    assert [kind for _, _, kind in spans(found.tags[0])] == [expected]
    assert read_error(several, as_list=True) == (
        "x.jsonl:1: 2 annotations of task 7; choose with data.annotations='first', 'last' or "
        "'ground_truth'"
    )


def test_tasks_that_are_not_done_are_left_out_and_counted(read):
    found = read(
        task(annotation()),
        task(),
        task(annotation(ADA, was_cancelled=True)),
        {"id": 1, "data": {"text": "x"}, "predictions": [{"result": []}]},
        as_list=True,
    )
    assert found.tags == [["O", "O"]]
    assert notes(found) == {
        "unlabelled records left out": 2,
        "tasks whose annotations are all cancelled left out": 1,
    }
    found = read(task(annotation(ADA)), task(annotation(ground_truth=True)), as_list=True,
                 annotations="ground_truth")  # fmt: skip
    assert found.tags == [["O", "O"]]
    assert notes(found) == {"tasks without an annotation that is ground truth left out": 1}


def test_the_text_of_a_task_is_its_only_one_or_has_to_be_named(read, read_error):
    one = {"data": {"body": "Ada sang", "n": 1}, "annotations": [annotation(ADA)]}
    assert read(one, as_list=True).words == [["Ada", "sang"]]
    image = {"data": {"image": "/data/upload/1.png"}, "annotations": [annotation()]}
    assert read_error(image, as_list=True).startswith("x.jsonl:1: 'data' holds 'image'; expected")
    several = {"data": {"body": "Ada sang", "title": "x"}, "annotations": [annotation(ADA)]}
    assert read(several, as_list=True, token_column="body").tags == [["B-PER", "O"]]
    assert read_error(several, as_list=True).startswith(
        "x.jsonl:1: 'data' holds 'body', 'title'; expected a text: name it with data.token_column"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (task(annotation({"start": 0, "end": 3, "labels": ["A", "B"]})), "span {'start': 0, "),
        (task(annotation({"start": "/p[1]", "end": "/p[1]", "labels": ["A"]})), "span {'start': '"),
        (task("x"), "'annotations' is \"['x']\"; expected a list of them"),
        (task({"result": "x"}), "'result' is 'x'; expected a list of spans"),
        ({"text": "x", "spans": []}, "expected a task of Label Studio"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_read_is_an_error_with_its_line(read_error, value, message):
    found = read_error(task(annotation()), value, as_list=True)
    assert found.startswith(f"x.jsonl:2: {message}")


def test_a_file_may_hold_one_task_on_many_lines(read):
    one = json.dumps(task(annotation(ADA)), indent=2)
    found = read(one)
    assert found.tags == [["B-PER", "O"]] and found.origin.line.tolist() == [1]
