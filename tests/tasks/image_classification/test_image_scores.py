"""What a pass over a split of images comes to, on images and logits made up here."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn

from bigjax.data.images.decoding import Images
from bigjax.report import sections
from bigjax.scores import class_scores, intervals
from bigjax.scores.metrics import Confusion
from bigjax.tasks.classes import calibrating
from bigjax.tasks.image_classification import scoring


def names_of(images) -> tuple[str, ...]:
    """Of what is declared, what is not a mean over batches."""
    names = tuple(score.name for score in scoring.declared(images.class_names))
    assert names[:2] == ("loss", "accuracy")
    return names[2:]


def made_up(*, num=200, num_classes=10, shape=(8, 8, 3), seed=0) -> tuple[Images, dict]:
    """Images of random pixels, and logits that are right more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num).astype(np.int32)
    pixels = rng.integers(0, 256, size=(num, *shape), dtype=np.uint8)
    logits = rng.normal(size=(num, num_classes)).astype(np.float32)
    logits[np.arange(num), labels] += 2
    names = tuple(f"class <{c}>" for c in range(num_classes))
    images = Images(pixels.__getitem__, labels, names, shape, "made up", "0" * 64)
    return images, {"logits": logits}


def section(scores, title: str) -> dict:
    return next(found for found in scores.sections if found["title"] == title)


def decoded(item: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(item["png"]))))


def test_scalars_are_those_of_scikit_learn():
    images, outputs = made_up()
    found = scoring.score(images, outputs).scalars
    probabilities = class_scores.softmax(outputs["logits"])
    predicted, one_hot = probabilities.argmax(axis=1), np.eye(10)[images.labels]
    precision, recall, f1, _ = sklearn.precision_recall_fscore_support(
        images.labels, predicted, average="macro"
    )
    expected = {
        "top5_accuracy": sklearn.top_k_accuracy_score(images.labels, probabilities, k=5),
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "roc_auc": sklearn.roc_auc_score(images.labels, probabilities, multi_class="ovr"),
        "average_precision": sklearn.average_precision_score(one_hot, probabilities),
        "calibration_error": class_scores.calibration(probabilities, labels=images.labels).error,
    }
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_classes", [1, 3, 120])
def test_scores_in_parts_are_the_scores(num_classes):
    images, outputs = made_up(num_classes=num_classes)
    found = scoring.score(images, outputs)
    right = outputs["logits"].argmax(1) == images.labels
    assert intervals.value(found.parts["accuracy"]) == pytest.approx(right.mean(), abs=1e-12)
    assert ("macro_f1" in found.parts) == (num_classes <= 100)
    if num_classes <= 100:
        macro_f1 = found.scalars["macro_f1"]
        assert intervals.value(found.parts["macro_f1"]) == pytest.approx(macro_f1, abs=1e-12)


def test_every_wrong_image_is_kept_and_the_first_ones_have_pictures(monkeypatch):
    monkeypatch.setattr(scoring, "NUM_PICTURES", 3)
    images, outputs = made_up()
    wrong = np.flatnonzero(outputs["logits"].argmax(1) != images.labels)
    found = scoring.score(images, outputs).wrong()
    assert [item["example"] for item in found] == wrong.tolist() and len(wrong) > 3
    assert ["png" in item for item in found] == [True] * 3 + [False] * (len(wrong) - 3)
    assert np.array_equal(decoded(found[0]), images.pixels(wrong[:1])[0])
    html = sections.render({"kind": "images", "title": "", "items": found})
    assert html.count("<img") == 3 and html.count("<figure>") == len(wrong)


@pytest.mark.parametrize("num_classes", [1, 2, 5, 6, 120])
def test_a_split_has_the_scores_that_are_promised_and_they_are_fit_for_json(num_classes):
    images, outputs = made_up(num_classes=num_classes)
    scores = scoring.score(images, outputs)
    assert tuple(scores.scalars) == names_of(images)
    assert ("top5_accuracy" in scores.scalars) == (num_classes > 5)
    assert set(scoring.HEADLINE) <= {"accuracy", *scores.scalars}
    stored = json.loads(json.dumps(scores.sections, allow_nan=False))
    assert stored == scores.sections
    assert all(sections.render(found) for found in stored)


def test_the_order_of_the_images_changes_no_scalar():
    images, outputs = made_up()
    order = np.random.default_rng(1).permutation(len(images.labels))
    turned = images._replace(labels=images.labels[order])
    found = scoring.score(turned, {"logits": outputs["logits"][order]}).scalars
    assert found == pytest.approx(scoring.score(images, outputs).scalars, abs=1e-12)


def test_the_table_by_class_has_the_lowest_f1_first_and_the_means_last():
    images, outputs = made_up()
    scores = scoring.score(images, outputs)
    *rows, last = section(scores, "Scores by class")["rows"]
    predicted, labels = outputs["logits"].argmax(axis=1), images.labels
    assert sorted(row[0] for row in rows) == sorted(images.class_names)
    assert [row[3] for row in rows] == sorted(row[3] for row in rows)
    for name, precision, recall, f1, auc, average_precision, support in rows:
        c = images.class_names.index(name)
        right = int(((predicted == c) & (labels == c)).sum())
        assert support == (labels == c).sum() and recall == pytest.approx(right / support)
        assert precision == pytest.approx(right / (predicted == c).sum())
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
        assert 0.5 < auc < 1 and 0 < average_precision < 1
    names = ("macro_precision", "macro_recall", "macro_f1", "roc_auc", "average_precision")
    assert last == ["mean of all classes", *(scores.scalars[name] for name in names), 200]


def test_a_class_without_images_has_no_scores_and_leaves_the_means_alone():
    images, outputs = made_up(num_classes=6)
    more = np.concatenate([outputs["logits"], np.full((200, 1), -50, np.float32)], axis=1)
    wider = images._replace(class_names=(*images.class_names, "unseen"))
    scores = scoring.score(wider, {"logits": more})
    rows = section(scores, "Scores by class")["rows"]
    assert rows[-2] == ["unseen", None, None, None, None, None, 0]
    for name in ("macro_f1", "macro_recall", "roc_auc", "average_precision"):
        expected = scoring.score(images, outputs).scalars[name]
        assert scores.scalars[name] == pytest.approx(expected, abs=1e-9)


def test_many_classes_are_cut_to_the_worst_and_the_cut_is_told():
    images, outputs = made_up(num=3000, num_classes=300)
    scores = scoring.score(images, outputs)
    table = section(scores, "Scores by class")
    assert len(table["rows"]) == 101 and "200 classes of the highest F1" in table["note"]
    assert max(row[3] for row in table["rows"][:-1]) < scores.scalars["macro_f1"]
    listed = section(scores, "Most frequent confusions")
    counts = Confusion.of(
        gold=images.labels,
        predicted=outputs["logits"].argmax(axis=1),
        mask=np.ones(3000, bool),
        num_classes=300,
    ).compute()
    pairs = [(counts[i, j], -i, -j) for i in range(300) for j in range(300) if i != j]
    expected = [
        [images.class_names[-i], images.class_names[-j], n, n / counts[-i].sum()]
        for n, i, j in sorted(pairs, reverse=True)[:20]
    ]
    assert listed["rows"] == expected and "300 classes" in listed["note"]
    assert not any(found["kind"] == "confusion" for found in scores.sections)


def test_the_confusion_matrix_has_gold_in_rows():
    images, outputs = made_up(num_classes=4)
    found = section(scoring.score(images, outputs), "Confusion matrix")
    predicted = outputs["logits"].argmax(axis=1)
    assert found["counts"] == sklearn.confusion_matrix(images.labels, predicted).tolist()
    assert found["labels"] == list(images.class_names)


def calibrated(images, outputs, *, found=None):
    of_split = calibrating({"test": images.labels}, things="images")
    corrected = None if found is None else of_split.apply(outputs, found)
    return of_split.score("test", outputs, corrected)


def test_the_reliability_diagrams_hold_every_image():
    images, outputs = made_up()
    of_split = calibrating({"test": images.labels}, things="images")
    found = of_split.fit("test", outputs)
    scores = calibrated(images, outputs, found=found)
    section = scores.sections[0]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["loss_calibrated"] < found["loss"]
    assert [name for name, _ in section["diagrams"]] == ["as trained", "with its temperature"]
    for _, bins in section["diagrams"]:
        assert len(bins) == 15 and sum(count for count, _, _ in bins) == 200
        assert [None, None] in [rest for _, *rest in bins]  # of ten classes none is below 0.1
    raw = scoring.score(images, outputs).scalars["calibration_error"]
    after = scores.scalars["calibrated_error"]
    assert f"{raw:.4f} as trained, {after:.4f} with the temperature" in section["note"]
    assert sections.render(section).count("<svg") == 2


def test_without_dev_the_temperature_is_1_and_the_report_says_so():
    images, outputs = made_up()
    scores = calibrated(images, outputs)
    raw = scoring.score(images, outputs).scalars["calibration_error"]
    assert scores.scalars == {"calibrated_error": raw}
    assert "no dev split, so the temperature is 1" in scores.sections[0]["note"]
    assert len(scores.sections[0]["diagrams"]) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_the_most_confident_mistakes_are_shown_as_they_are(channels):
    images, outputs = made_up(shape=(8, 6, channels))
    found = section(scoring.score(images, outputs), "Most confident mistakes")
    probabilities = class_scores.softmax(outputs["logits"])
    wrong = [i for i in range(200) if probabilities[i].argmax() != images.labels[i]]
    wrong.sort(key=lambda i: -probabilities[i].max())
    assert len(wrong) > 24 and f"{len(wrong)} of 200 images" in found["note"]
    assert [item["number"] for item in found["items"]] == [i + 1 for i in wrong[:24]]
    for i, item in zip(wrong, found["items"]):
        assert item["gold"] == images.class_names[images.labels[i]]
        assert item["predicted"] == images.class_names[probabilities[i].argmax()]
        assert item["confidence"] == probabilities[i].max()
        assert (item["width"], item["height"]) == (6, 8)
        shown = decoded(item).reshape(8, 6, channels)
        np.testing.assert_array_equal(shown, images.pixels(np.array([i]))[0])


def test_large_images_are_shown_smaller_in_their_own_proportions():
    images, outputs = made_up(num=30, shape=(300, 600, 3))
    found = section(scoring.score(images, outputs), "Most confident mistakes")
    for item in found["items"]:
        assert (item["width"], item["height"]) == (128, 64)
        assert decoded(item).shape == (64, 128, 3)


def test_a_model_without_mistakes_shows_none():
    images, outputs = made_up()
    outputs["logits"][np.arange(200), images.labels] += 100
    scores = scoring.score(images, outputs)
    assert [found["title"] for found in scores.sections] == [
        "Scores by class",
        "Confusion matrix",
    ]
    assert scores.scalars["macro_f1"] == 1 and scores.scalars["calibration_error"] < 1e-12


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_make_every_score_nan(bad):
    images, outputs = made_up()
    outputs["logits"][[3, 7], 2] = bad
    scores = scoring.score(images, outputs)
    assert tuple(scores.scalars) == names_of(images)
    assert np.isnan(list(scores.scalars.values())).all()
    assert scores.sections[0]["rows"] == [["images whose logits are not finite", "2 of 200"]]
    assert "2 of 200" in sections.render(scores.sections[0])


def test_the_data_report_tells_sizes_classes_and_their_spread():
    names = ("cat", "dog", "fox", "owl")

    def split(labels: list, *, shape: tuple, where: str) -> Images:
        pixels = np.zeros((len(labels), *shape), np.uint8)
        labels = np.array(labels, np.int32)
        return Images(pixels.__getitem__, labels, names, shape, where, "0" * 64)

    rows = scoring.data_report(
        {
            "train": split([0, 1, 2, 3] * 300, shape=(32, 24, 3), where="pets, split train"),
            "dev": split([0, 1, 1, 2, 3, 3, 3], shape=(32, 24, 1), where="pets, split dev"),
            "test": split([1, 1, 2], shape=(32, 24, 3), where="pets, split test"),
        }
    )
    assert rows == [
        ("classes", "4: cat, dog, fox, owl"),
        ("train", "pets, split train"),
        ("train: images", "1,200 of 32 x 24 pixels, RGB"),
        ("train: images a class", "300"),
        ("dev", "pets, split dev"),
        ("dev: images", "7 of 32 x 24 pixels, greyscale"),
        ("dev: images a class", "1 (cat) to 3 (owl)"),
        ("test", "pets, split test"),
        ("test: images", "3 of 32 x 24 pixels, RGB"),
        ("test: images a class", "0 (cat) to 2 (dog); 2 classes have none"),
    ]


def test_the_data_report_counts_files_that_are_no_images_by_their_kind():
    images, _ = made_up()
    assert "train: left out" not in dict(scoring.data_report({"train": images}))
    left_out = {".txt": 2, "": 1, ".npy": 1200, ".csv": 1, ".db": 1}
    rows = dict(scoring.data_report({"train": images._replace(left_out=left_out)}))
    assert rows["train: left out"] == (
        "1,205 files of no kind that is read: 1,200 *.npy, 2 *.txt, 1 without a name ending and 2 "
        "more"
    )


def test_classes_without_an_image_to_learn_from_are_a_warning_and_in_the_report():
    images, _ = made_up()
    assert scoring.warnings({"train": images, "dev": images}) == ()
    fewer = images._replace(labels=np.minimum(images.labels, 4))
    assert scoring.warnings({"dev": fewer}) == ()
    (line,) = scoring.warnings({"train": fewer, "dev": images})
    assert line == (
        "5 of 10 classes have no image in train and cannot be learnt: class <5>, class <6>, "
        "class <7> and 2 more"
    )
    assert ("warning", line) in scoring.data_report({"train": fewer})


def test_the_data_report_of_many_classes_counts_them():
    images, _ = made_up(num_classes=1000)
    assert scoring.data_report({"train": images})[0] == ("classes", "1,000")


def test_best_is_the_least_loss_and_calibration_error_and_the_most_of_all_else():
    declared = scoring.declared(("a", "b"))
    least = {score.name for score in declared if not score.higher_is_better}
    assert least == {"loss", "calibration_error"} and len(declared) > len(least)
