"""Adversarial training against a slow way up, one sentence at a time, each alone in its row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from bigjax.config import values as configs
from bigjax.data.pipeline import global_batch
from bigjax.engine import settings, sharding, step
from bigjax.errors import UserError
from bigjax.methods import adversarial, gradient
from bigjax.models import bert
from bigjax.tasks.token_tagging import model as tagging
from bigjax.tasks.token_tagging import task as token_tagging

TOLERANCE = 2e-5
NUM_ROWS = 8
FGM = adversarial.fgm(epsilon=0.3)
FREELB = adversarial.freelb(epsilon=0.5, steps=3, step_size=0.2)
SIZES = bert.Sizes(
    vocab_size=30, num_layers=1, hidden_size=8, num_heads=2, mlp_size=16, max_positions=24
)
TINY = {
    "text.vocab_size": "200",
    "text.row_length": "24",
    "model.num_layers": "1",
    "model.hidden_size": "8",
    "model.num_heads": "2",
    "model.mlp_size": "16",
    "data.num_train": "40",
    "data.num_dev": "4",
    "data.num_test": "4",
    "batch.examples": "none",
    "batch.rows": str(NUM_ROWS),
}


def config_of(**overrides):
    file = f"{ROOT}/configs/bert_ner.py:scratch"
    given = TINY | {key.replace("__", "."): value for key, value in overrides.items()}
    return configs.load(file, overrides=given, schema=settings.schema)


@functools.cache
def tagger():
    return token_tagging.make(config_of())


# --- against a slow loop --------------------------------------------------------------------------


def model_without_dropout():
    still = bert.Compute(dropout=0.0, attention_dropout=0.0)
    return tagging.make_model(
        tagging.Tagger(SIZES, still, 3), smoothing=0.0, weights_T=None, pretrained=None
    )


def packed(lengths_of_rows, *, row_length: int = 16):
    """Random sentences of these lengths; row i holds those of the i-th list."""
    rng = np.random.default_rng(0)
    names = ("tokens", "segments", "positions", "labels")
    rows = {name: np.zeros((len(lengths_of_rows), row_length), np.int32) for name in names}
    sentences = []
    for i, lengths in enumerate(lengths_of_rows):
        begin = 0
        for number, length in enumerate(lengths, 1):
            here = slice(begin, begin + length)
            rows["tokens"][i, here] = rng.integers(1, 30, length)
            rows["labels"][i, here] = rng.integers(0, 3, length)
            rows["segments"][i, here] = number
            rows["positions"][i, here] = np.arange(length)
            sentences.append({name: rows[name][i, here] for name in names})
            begin += length
    return with_mask(rows), sentences


def with_mask(rows):
    return rows | {"mask": rows["segments"] > 0, "row": np.arange(len(rows["tokens"]))}


def alone(sentence):
    """A sentence in a row of its own."""
    room = 16 - len(sentence["tokens"])
    row = {name: np.pad(value, (0, room))[None] for name, value in sentence.items()}
    return with_mask(row | {"segments": np.minimum(row["segments"], 1)})


def objective_of(model):
    def objective(params, model_state, rows):  # noqa: ARG001
        outputs, state = model.apply({"params": params}, rows, None)
        sums = model.train_sums(outputs, rows)
        return sums["loss"].total, (sums, state)

    return objective


def slow(ascent, objective, params, sentences):
    """The sum over sentences of the mean of the gradients on the way up."""

    @jax.jit
    def at(params, delta, rows):
        score = lambda params, delta: objective(params, {}, rows | {"embedding_delta": delta})[0]  # noqa: E731
        return jax.grad(score, argnums=(0, 1))(params, delta)

    total = jax.tree.map(np.zeros_like, params)
    for sentence in sentences:
        delta = np.zeros((1, 16, 8), np.float32)
        for _ in range(ascent.num_gradients):
            grads, direction = at(params, delta, alone(sentence))
            total = jax.tree.map(lambda t, g: t + g / ascent.num_gradients, total, grads)
            delta = delta + ascent.step_size * direction / np.linalg.norm(direction)
            delta = delta * min(1.0, ascent.radius / np.linalg.norm(delta))
    return total


@pytest.mark.parametrize("ascent", [FGM, FREELB._replace(at_random=False)], ids=["fgm", "freelb"])
def test_the_way_up_on_packed_rows_is_that_of_each_sentence_alone_in_a_row(ascent):
    model = model_without_dropout()
    batch, sentences = packed([[5, 7, 3], [16], [2, 2], []])
    params = jax.jit(model.init)(jax.random.key(0))["params"]
    params = jax.tree.map(lambda x: x * 5, params)  # so that it matters where embeddings are
    objective = objective_of(model)
    task = tagger()._replace(model=model)
    of = adversarial.gradients(ascent, task).of(objective, jax.random.key(1))
    found, (sums, _) = jax.jit(of)(params, {}, batch)
    expected = slow(ascent, objective, params, sentences)
    same = lambda a, b: np.testing.assert_allclose(a, b, atol=5 * TOLERANCE)  # noqa: E731
    jax.tree.map(same, found, expected)
    clean, (clean_sums, _) = jax.jit(jax.grad(objective, has_aux=True))(params, {}, batch)
    assert max(jax.tree.leaves(jax.tree.map(lambda a, b: abs(a - b).max(), found, clean))) > 0.05
    assert float(sums["loss"].total) > float(clean_sums["loss"].total)
    assert float(sums["loss"].count) == float(clean_sums["loss"].count)


def test_moves_are_of_the_asked_norm_in_each_sentence_and_padding_never_moves():
    batch, _ = packed([[5, 7, 3], [16], [2, 2], []])
    rng = np.random.default_rng(1)
    gradient = rng.standard_normal((4, 16, 8)).astype(np.float32)
    segments = jnp.asarray(batch["segments"])
    move = functools.partial(adversarial._move, segments_BL=segments, step_size=0.2, radius=0.5)
    delta = jnp.zeros_like(gradient)
    for norm in (0.2, 0.4, 0.5, 0.5):
        delta = move(delta, gradient)
        for row, number in ((0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (2, 2)):
            inside = np.asarray(delta)[row][batch["segments"][row] == number]
            np.testing.assert_allclose(np.linalg.norm(inside), norm, rtol=1e-5)
        assert not np.asarray(delta)[batch["segments"] == 0].any()
    assert not np.asarray(move(jnp.zeros_like(gradient), jnp.zeros_like(gradient))).any()


def test_a_random_start_lies_in_the_ball_and_depends_on_the_update_and_the_row_alone():
    batch, _ = packed([[5, 7, 3], [16], [2, 2], []])
    rows = {name: jnp.asarray(value) for name, value in batch.items()}
    start = functools.partial(adversarial._random_start, size=8, radius=0.5)
    found = start(jax.random.key(0), rows)
    norms = np.asarray(adversarial.sentence_norms(found, rows["segments"]))
    inside = batch["segments"] > 0
    assert (norms[inside] <= 0.5).all() and (norms[inside] > 0.15).all()
    assert not np.asarray(found)[~inside].any()
    some = jax.tree.map(lambda x: x[jnp.array([2, 0])], rows)
    np.testing.assert_array_equal(start(jax.random.key(0), some), found[jnp.array([2, 0])])
    assert (start(jax.random.key(1), rows) != found)[inside].all()


# --- in an update ---------------------------------------------------------------------------------


def gradients(ascent, *, parts: int, num_rows: int = NUM_ROWS, mesh=None):
    """Mean gradients of the first batch, with dropout."""
    task = tagger()
    model = task.model
    variables = jax.jit(lambda: step.nn.meta.unbox(model.init(jax.random.key(0))))()
    state = step.TrainState(jnp.int32(0), variables["params"], {}, None, None)
    batch = global_batch(task.data.train, step=0, rows=np.arange(num_rows))

    def mean(state, batch):
        return step.mean_gradients(
            model,
            state,
            batch,
            key=jax.random.key(7),
            num_microbatches=parts,
            method=adversarial.gradients(ascent, task),
        )

    if mesh is not None:
        batch = jax.device_put(batch, sharding.batch_sharding(mesh))
        mean = sharding.on_mesh(mean, mesh)
    grads, sums, _ = jax.jit(mean)(state, batch)
    return grads, jax.tree.map(float, sums)


@pytest.mark.parametrize("ascent", [FGM, FREELB], ids=["fgm", "freelb"])
def test_accumulation_empty_rows_and_eight_devices_change_nothing_beyond_rounding(ascent):
    expected, sums = gradients(ascent, parts=1)
    assert max(float(abs(leaf).max()) for leaf in jax.tree.leaves(expected)) > 1000 * TOLERANCE
    for found, found_sums in (
        gradients(ascent, parts=4),
        gradients(ascent, parts=1, num_rows=NUM_ROWS + 3),
        gradients(ascent, parts=1, mesh=sharding.make_mesh("data=2,fsdp=2,tensor=2")),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE), found, expected)
        assert found_sums["loss"].total == pytest.approx(sums["loss"].total, rel=1e-5)


def test_off_is_the_same_program_as_without_the_section():
    task = tagger()
    off = config_of().of(adversarial.KIND)
    assert adversarial.gradients(off, task) is gradient.PLAIN


def test_a_model_without_words_refuses_with_the_reason():
    task = tagger()
    images = task._replace(
        name="image_classification", model=task.model._replace(embedding_size=None)
    )
    with pytest.raises(UserError, match="embeddings of words, and a model of image_classification"):
        adversarial.gradients(FGM, images)


def test_settings_of_another_kind_are_refused():
    with pytest.raises(UserError, match=r"adversarial\.steps"):
        config_of(adversarial__kind="fgm", adversarial__steps="3")
