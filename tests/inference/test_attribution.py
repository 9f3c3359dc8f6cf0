"""What parts of an input did for what was said: compared with integrals that are known, and with
what the model says without the input."""

import base64
import functools
import io

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from conftest import ROOT
from PIL import Image

from bigjax.config import values as configs
from bigjax.engine import settings
from bigjax.inference import attribution
from bigjax.scores import class_scores
from bigjax.scores.metrics import Mean
from bigjax.tasks.image_classification import explaining
from bigjax.tasks.image_classification import use as images
from bigjax.tasks.task import Model
from bigjax.tasks.token_tagging import task as token_tagging

SIZES = {
    "text.vocab_size": "300", "text.row_length": "32", "model.num_layers": "1",
    "model.hidden_size": "16", "model.num_heads": "2", "model.mlp_size": "32",
    "data.num_train": "60", "data.num_dev": "5", "data.num_test": "5",
}  # fmt: skip


def asked(function, gradient):
    """As `attribution.Ask`, of float64 functions of (R, ...)."""

    def ask(points):
        return np.array([function(x) for x in points]), np.stack([gradient(x) for x in points])

    return ask


@pytest.mark.parametrize("num_points", [5, 14, 30])
def test_parts_of_a_product_are_its_shapley_halves(num_points):
    """Of x y the way from (0, 0) gives half to each; constants give nothing, linear all."""
    function = lambda x: x[0, 0] * x[0, 1] + 3 * x[0, 2] + 7  # noqa: E731
    gradient = lambda x: np.array([[x[0, 1], x[0, 0], 3.0, 0.0]])  # noqa: E731
    value = np.array([[2.0, 5.0, 4.0, 9.0]])
    found = attribution.integrated_gradients(
        asked(function, gradient), value=value, baseline=np.zeros((1, 4)), num_points=num_points
    )
    np.testing.assert_allclose(found.parts, [[5, 5, 12, 0]], atol=1e-4)
    assert (found.score, found.baseline) == (29, 7) and abs(found.error) < 1e-4


def test_more_points_are_taken_until_the_parts_sum_to_what_they_should():
    steep = lambda x: np.tanh(60 * (x.sum() - 0.3))  # noqa: E731
    slope = lambda x: np.full(x.shape, 60 / np.cosh(60 * (x.sum() - 0.3)) ** 2)  # noqa: E731
    value, baseline = np.full((1, 2), 0.5, np.float32), np.zeros((1, 2), np.float32)
    question = attribution.Question("x", {}, "x", value, baseline, show=dict)
    found = attribution.attribute(question, asked(steep, slope))
    assert found.num_points > attribution.NUM_POINTS[0]
    assert abs(found.error) <= 0.02 and found.parts.sum() == pytest.approx(2, abs=0.02)
    flat = attribution.attribute(question, asked(lambda x: x.sum(), np.ones_like))
    assert flat.num_points == attribution.NUM_POINTS[0]


# --- tags -----------------------------------------------------------------------------------------

SCALE = 4
TEXT = "Nine people met Angela-Merkel-Foundation in Unbelievabletown, near the wide river."


@functools.cache
def tagger(head: str):
    """A task with random parameters that say something of most words, and what it says of TEXT."""
    file, given = f"{ROOT}/configs/bert_ner.py:scratch", {**SIZES, "model.head": head}
    task = token_tagging.make(configs.load(file, overrides=given, schema=settings.schema))
    params = nn.meta.unbox(jax.jit(task.model.init)(jax.random.key(1)))["params"]
    params = jax.tree.map(lambda x: SCALE * x if x.ndim == 2 else x, params)  # words see each other
    return task, {"params": params}, jax.jit(lambda *given: task.model.apply(*given, None)[0])


def said_of(text: str, *, head: str):
    task, variables, apply = tagger(head)
    one = task.use.prepare(text)
    rows, decode = task.use.encode([one])
    (answer,) = decode(jax.device_get(apply(variables, rows.rows(np.arange(rows.num_rows)))))
    return one, answer


@pytest.fixture(scope="module", params=["linear", "crf"])
def explained(request):
    """Each entity with its question and its explanation."""
    task, variables, _ = tagger(request.param)
    one, answer = said_of(TEXT, head=request.param)
    ask, found = attribution.asker(task.model), []
    for question in task.use.questions(one, answer, variables):
        given = (variables, {}, question.batch, question.varied)
        found.append((question, attribution.attribute(question, functools.partial(ask, *given))))
    assert len(found) == len(answer["entities"]) > 2
    return request.param, answer, found


def test_what_words_did_sums_to_the_score_with_them_less_that_without(explained):
    _, _, found = explained
    num_words = []
    for question, why in found:
        values = [value for _, value, _ in question.show(why.parts)["pieces"] if value is not None]
        assert why.score - why.baseline == pytest.approx(sum(values) - why.error, abs=1e-6)
        assert abs(why.error) <= 0.01 * max(1, abs(why.score - why.baseline))
        num_words.append(sum(abs(value) > 1e-3 for value in values))
    assert max(num_words) > 3  # others than the words of the entity, too


def test_the_score_is_the_log_probability_of_the_tags_and_the_baseline_that_of_unknown_words(
    explained,
):
    """Those of a linear head are its words' softmaxes; of either, unknown words are tokens too."""
    head, _, found = explained
    task, variables, apply = tagger(head)
    tokenizer = tokenizers.Tokenizer.from_str(task.use.files["tokenizer.json"])
    for question, why in found:
        batch = {name: jnp.asarray(rows) for name, rows in question.batch.items()}
        unknown = (np.abs(question.baseline).sum(-1) > 0) * tokenizer.token_to_id("[UNK]")
        blank = batch | {"tokens": jnp.where(unknown > 0, unknown, batch["tokens"])}
        for rows, expected in ((batch, why.score), (blank, why.baseline)):
            outputs = apply(variables, rows)
            if head == "linear":
                shares = shares_of(outputs["logits"], question)
                assert expected == pytest.approx(np.log(shares).sum(), abs=1e-4)
            else:
                losses = jax.jit(task.model.eval_sums)(outputs, rows)["loss"].total
                assert expected == pytest.approx(-float(losses), abs=1e-4)


def shares_of(logits, question):
    """The softmax of each word's tag of those that a question is about."""
    counted = question.batch["mask"]
    shares = class_scores.softmax(np.asarray(logits)[counted])
    return shares[np.arange(len(shares)), question.batch["labels"][counted]]


def test_what_is_shown_is_the_sentence_with_the_entity_marked(explained):
    _, answer, found = explained
    for (question, why), entity in zip(found, answer["entities"]):
        pieces = question.show(why.parts)["pieces"]
        assert "".join(text for text, _, _ in pieces) == TEXT
        marked = "".join(text for text, _, asked in pieces if asked)
        assert marked == entity["text"].replace(" ", "")
        assert question.said.startswith(entity["type"])


def test_a_word_of_a_long_sentence_is_asked_for_in_its_own_window():
    task, variables, apply = tagger("linear")
    one, answer = said_of(" ".join([TEXT[:-1]] * 4), head="linear")
    assert len(one.sentences) == 2 and len(one.words) > 40
    questions = list(task.use.questions(one, answer, variables))
    for entity, question in zip(answer["entities"], questions, strict=True):
        shares = shares_of(apply(variables, question.batch)["logits"], question)
        assert shares.prod() == pytest.approx(entity["score"], abs=1e-3)
        asked = [text for text, _, asked in question.show(question.value)["pieces"] if asked]
        assert len(asked) == len(shares) and "".join(asked) == entity["text"].replace(" ", "")


# --- images ---------------------------------------------------------------------------------------


def test_what_pixels_did_is_drawn_beside_the_image():
    """A class that looks at one pixel alone: that one did everything."""
    rng = np.random.default_rng(0)
    one = images.Prepared("x.png", rng.integers(0, 255, (6, 5, 3), dtype=np.uint8))
    one.pixels[2, 3] = 255

    def apply(variables, batch, key):
        del variables, key
        seen = batch["image"][:, 2, 3, 0].astype(jnp.float32) / 60
        return {"logits": jnp.stack([seen, -seen], axis=1)}, {}

    def sums(outputs, batch):
        losses = -jax.nn.log_softmax(outputs["logits"])[jnp.arange(1), batch["label"]]
        return {"loss": Mean.of(losses, batch["mask"])}

    model = Model(None, apply, None, sums, None)
    answer = {"class": "bright", "score": 0.9}
    (question,) = explaining.questions(one, answer, {}, class_names=["bright", "dark"])
    ask = functools.partial(
        attribution.asker(model), {"params": {}}, {}, question.batch, question.varied
    )
    why = attribution.attribute(question, ask)
    shown = question.show(why.parts)
    did = shown["map"]
    assert did[2, 3] == pytest.approx(why.score - why.baseline, abs=0.01) and did[2, 3] > 0.01
    did[2, 3] = 0
    assert not did.any() and why.score == pytest.approx(-np.log1p(np.exp(-2 * 255 / 60)), abs=1e-4)
    for name in ("png", "map_png"):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[name]))))
        assert picture.shape == (6, 5, 3)
    assert tuple(picture[2, 3]) == (29, 95, 174)
    assert (shown["width"], shown["height"]) == (5 * 26, 6 * 26)
