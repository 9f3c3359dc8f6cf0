"""Scores of parts of a split, beside those of the part alone."""

import numpy as np
import pytest

from bigjax.data.text.sentences import Origin, Sentences, collect
from bigjax.data.text.tags import spans
from bigjax.scores.entities import Entities
from bigjax.tasks.token_tagging import slices
from bigjax.tasks.token_tagging.rows import Split

TAGS = ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]


def split_of(*tagged: str, origin: Origin = Origin()) -> Split:  # noqa: B008 - immutable
    """Sentences as "Anna/B-PER met/O"."""
    pairs = [[part.rsplit("/", 1) for part in sentence.split()] for sentence in tagged]
    found = collect([tuple(zip(*sentence)) for sentence in pairs], where="here")
    numbers = np.array([TAGS.index(tag) for tag in found.tags.distinct])
    sentences = Sentences(found.words, found.tags, "here", origin)
    return Split(sentences, None, numbers[found.tags.ids], None)


def table_of(split: Split, predicted: list[str], *, seen: str | None):
    """`predicted`: a line of tags for each sentence."""
    gold, found = (
        [spans(tags) for tags in side] for side in (split.sentences.tags, map(str.split, predicted))
    )
    sides = Entities.of(gold, other=found), Entities.of(found, other=gold)
    table = slices.entity_table(split, *sides, seen=seen)
    return {row[0]: (*row[1:4], row[4]["value"]) for row in table["rows"]}, table


TRAIN = split_of("Anna/B-PER of/O New/B-LOC York/I-LOC", "Paris/B-PER in/O Paris/B-LOC Rome/B-LOC")
TEST = split_of(
    "Anna/B-PER met/O Bob/B-PER",
    "New/B-LOC York/I-LOC is/O Rome/B-PER",
    " ".join(["Bob/B-PER"] + ["w/O"] * 9),
)
PREDICTED = ["B-PER O O", "B-LOC I-LOC O B-LOC", "B-LOC" + " O" * 9]


def test_entities_are_in_the_part_of_what_training_has_seen_of_their_words():
    rows, table = table_of(TEST, PREDICTED, seen=slices.kept(TRAIN, tags=TAGS))
    assert rows["entities seen in training"] == (2, 2 / 3, 1.0, 2 * 2 / 5)  # Anna, New York, Rome
    assert rows["seen, but only as another type"] == (1, None, 0.0, 0.0)
    assert rows["entities not seen in training"] == (2, 0.0, 0.0, 0.0)
    assert "exactly its words" in table["note"]


def test_entities_are_in_the_part_of_their_sentence_and_of_their_length():
    rows, table = table_of(TEST, PREDICTED, seen=None)
    assert list(rows) == [
        "sentences of 1 to 9 words",
        "sentences of 10 to 19 words",
        "entities of 1 word",
        "entities of 2 words",
    ]
    assert rows["sentences of 1 to 9 words"] == (4, 2 / 3, 2 / 4, 2 * 2 / 7)
    assert rows["sentences of 10 to 19 words"] == (1, 0.0, 0.0, 0.0)
    assert rows["entities of 2 words"] == (1, 1.0, 1.0, 1.0)
    assert all(row[4]["low"] <= row[4]["value"] <= row[4]["high"] for row in table["rows"])
    assert "seen" not in table["note"]


def test_files_are_parts_where_there_are_several_the_worst_first(monkeypatch):
    files = Origin(("/a/one.txt", "two.txt", "three.txt"), np.array([2, 0, 1]), np.arange(3))
    split = TEST._replace(sentences=TEST.sentences._replace(origin=files))
    rows, _ = table_of(split, PREDICTED, seen=None)
    named = [name for name in rows if name.startswith("file")]
    assert named == ["file two.txt", "file one.txt", "file three.txt"]
    assert rows["file one.txt"] == (2, 0.5, 0.5, 0.5)
    monkeypatch.setattr(slices, "MAX_PLACES", 1)
    assert "file one.txt" not in table_of(split, PREDICTED, seen=None)[0]


def test_documents_are_parts_where_files_say_where_they_begin(monkeypatch):
    origin = Origin(
        ("/a/one.txt",), np.zeros(3, np.int32), np.array([2, 6, 9]), np.array([1, 2, 2])
    )
    split = TEST._replace(sentences=TEST.sentences._replace(origin=origin))
    rows, _ = table_of(split, PREDICTED, seen=None)
    named = [name for name in rows if name.startswith(("document", "file"))]
    assert named == ["document from one.txt:6", "document from one.txt:2"], "the worst first"
    assert rows["document from one.txt:2"] == (2, 1.0, 0.5, 2 / 3)
    assert rows["document from one.txt:6"] == (3, 1 / 3, 1 / 3, 1 / 3)
    monkeypatch.setattr(slices, "MAX_PLACES", 1)
    assert "document from one.txt:2" not in table_of(split, PREDICTED, seen=None)[0]


def test_what_is_kept_of_training_is_a_hash_and_the_types_and_the_same_in_any_order():
    kept = slices.kept(TRAIN, tags=TAGS)
    turned = split_of(
        *[
            "Rome/B-LOC Paris/B-LOC Paris/B-PER",
            "New/B-LOC York/I-LOC Anna/B-PER Anna/B-PER",
        ]
    )
    assert slices.kept(turned, tags=TAGS) == kept
    assert len(kept.splitlines()) == 4 and "LOC,PER\n" in kept
    assert not any(word in kept for word in ("Anna", "Paris", "York"))
    assert slices.kept(split_of("a/O"), tags=TAGS) == ""


def test_a_run_without_the_file_is_scored_without_and_one_that_is_no_text_is_one_line(tmp_path):
    assert slices.read(str(tmp_path)) is None
    (tmp_path / slices.FILE).write_bytes(b"\xff")
    with pytest.raises(slices.UserError, match="remove it to score without"):
        slices.read(str(tmp_path))
    (tmp_path / slices.FILE).write_text("", encoding="utf-8")
    rows, _ = table_of(TEST, PREDICTED, seen=slices.read(str(tmp_path)))
    assert rows["entities not seen in training"][0] == 5


def test_words_are_in_the_part_of_their_sentence():
    table = slices.word_table(TEST, np.zeros(len(TEST.labels), int))
    rows = {name: (num, cell["value"]) for name, num, cell in table["rows"]}
    assert rows == {
        "sentences of 1 to 9 words": (7, 2 / 7),
        "sentences of 10 to 19 words": (10, 9 / 10),
    }
