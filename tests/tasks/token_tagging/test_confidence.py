"""What a tagger's confidence is worth, on logits made up here; in loops over what is given out."""

import itertools
import json

import numpy as np
import pytest

from bigjax.data.text.sentences import collect
from bigjax.data.text.tags import spans
from bigjax.tasks.task import Scores
from bigjax.tasks.token_tagging import confidence, decoding
from bigjax.tasks.token_tagging.rows import Split
from bigjax.tasks.token_tagging.settings import Decoding

IOB2 = ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]
POS = ["ADJ", "NOUN", "VERB"]


def made_up(tags, *, crf=False, sharper=1.0, num=200, seed=0):
    """A split of sentences of 1 to 4 words, a row each, and outputs that its tags were drawn by,
    but that are `sharper`."""
    draw = np.random.Generator(np.random.Philox(seed))
    lengths = draw.integers(1, 5, num)
    offsets = np.r_[0, np.cumsum(lengths)]
    logits = draw.normal(size=(offsets[-1], len(tags))) * 2
    transitions = draw.normal(size=(len(tags) + 2, len(tags))) if crf else None
    labels = drawn(draw, logits, offsets, transitions, tags=tags)
    sentences = collect(
        [
            (["w"] * (end - begin), [tags[i] for i in labels[begin:end]])
            for begin, end in zip(offsets, offsets[1:])
        ],
        where="made up",
    )
    words = np.full((num, 4), -1)
    for i, (begin, end) in enumerate(zip(offsets, offsets[1:])):
        words[i, : end - begin] = np.arange(begin, end)
    rows = np.zeros((num, 4, len(tags)), np.float32)
    rows[words >= 0] = sharper * logits
    outputs = {"logits": rows}
    if crf:
        outputs["transitions"] = np.repeat(np.float32(sharper * transitions)[None], num, axis=0)
    return Split(sentences, words, labels, None), outputs


def drawn(draw, logits, offsets, transitions, *, tags):
    """Tags by the model's own probabilities: of all sequences of a sentence, one."""
    labels = []
    for begin, end in itertools.pairwise(offsets):
        paths = np.array(list(itertools.product(range(len(tags)), repeat=end - begin)))
        weights = logits[np.arange(begin, end), paths].sum(axis=1)
        if transitions is not None:
            scores = np.where(decoding.allowed(tags), transitions, -1e30)
            weights = weights + scores[-2, paths[:, 0]] + scores[-1, paths[:, -1]]
            weights = weights + scores[paths[:, :-1], paths[:, 1:]].sum(axis=1)
        labels.append(paths[draw.choice(len(paths), p=softmax(weights))])
    return np.concatenate(labels)


def softmax(row):
    found = np.exp(row - row.max())
    return found / found.sum()


@pytest.fixture(autouse=True)
def a_row_a_sentence(monkeypatch):
    def by_word(split, outputs):
        return outputs["logits"][split.windows >= 0]

    monkeypatch.setattr(confidence, "by_word", by_word)


def calibrating(split, tags, **how):
    return confidence.calibrating({"dev": split}, tags=tags, how=Decoding(**how))


def slow_error(pairs) -> float:
    """The expected calibration error of (confidence, right)."""
    error = 0.0
    for low, high in zip(np.linspace(0, 1, 16), np.linspace(0, 1, 16)[1:]):
        inside = [(p, right) for p, right in pairs if low < p <= high]
        if inside:
            p, right = np.mean(inside, axis=0)
            error += len(inside) / len(pairs) * abs(p - right)
    return error


@pytest.mark.parametrize("kind", ["product", "minimum"])
def test_the_error_is_that_of_the_entities_and_scores_that_prediction_gives(kind):
    split, outputs = made_up(IOB2, sharper=2.0)
    pairs = []
    for i, tags in enumerate(split.sentences.tags):
        logits = outputs["logits"][i, : len(tags)].astype(np.float64)
        best = logits.argmax(axis=1)
        scores = [softmax(row)[tag] for row, tag in zip(logits, best)]
        together = np.prod if kind == "product" else np.min
        gold = spans(tags)
        for span in spans([IOB2[tag] for tag in best]):
            pairs.append((together(scores[span[0] : span[1]]), span in gold))
    of_split = calibrating(split, IOB2, kind="argmax", score=kind)
    found = of_split.score("dev", outputs, None)
    assert 0 < sum(right for _, right in pairs) < len(pairs)
    assert found.scalars["calibration_error"] == pytest.approx(slow_error(pairs), abs=1e-12)
    assert found.scalars["calibrated_error"] == found.scalars["calibration_error"]
    ((_, bins),) = found.sections[0]["diagrams"]
    assert sum(count for count, _, _ in bins) == len(pairs)
    assert "no dev split" in found.sections[0]["note"]


@pytest.mark.parametrize(("tags", "crf"), [(IOB2, False), (IOB2, True), (POS, False), (POS, True)])
def test_a_tagger_that_is_three_times_too_sure_gets_its_temperature_and_predicts_the_same(
    tags, crf
):
    split, outputs = made_up(tags, crf=crf, sharper=3.0, num=600)
    of_split = calibrating(split, tags)
    found = of_split.fit("dev", outputs)
    assert found["temperature"] == pytest.approx(3.0, rel=0.1)
    assert found["loss_calibrated"] < found["loss"]
    assert json.loads(json.dumps(found)) == found
    corrected = of_split.apply(outputs, found)
    assert all(corrected[name].dtype == np.float64 for name in outputs)
    given = {"tags": tags, "how": Decoding()}
    predicted = confidence._predicted(split, outputs, **given)
    assert np.array_equal(confidence._predicted(split, corrected, **given), predicted)
    scalars = of_split.score("dev", outputs, corrected).scalars
    if not (crf and tags is POS):  # whose scores are of words alone
        assert scalars["calibrated_error"] < scalars["calibration_error"] / 2


def test_where_no_entity_is_predicted_there_is_no_error_and_no_diagram():
    split, outputs = made_up(IOB2, num=5)
    outputs["logits"][..., 0] += 100
    assert calibrating(split, IOB2).score("dev", outputs, outputs) == Scores({}, [])
