"""The task of classifying images: that a batch is what it should be, the loss and the scores
against numpy, and that nothing but rounding depends on the parts and chunks of a batch. Whole runs
are in `test_image_runs.py`."""

import collections
import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
from digits import MIXED, assert_bitwise_equal, built, load, mesh_of, skewed, updates
from sklearn.utils.class_weight import compute_class_weight

from bigjax.data.images import image_sources
from bigjax.data.pipeline import global_batch
from bigjax.engine import microbatches, sharding
from bigjax.engine.scorer import Scorer, make_eval_step
from bigjax.engine.state import TrainState
from bigjax.engine.step import mean_gradients
from bigjax.errors import UserError
from bigjax.loop.evaluate import evaluate
from bigjax.models import cnn
from bigjax.tasks.image_classification import model
from bigjax.tasks.image_classification import task as image_classification

TOLERANCE = 1e-5


def make(overrides=()):
    return image_classification.make(load(overrides))


def assert_trees_close(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    close = functools.partial(np.testing.assert_allclose, rtol=TOLERANCE, atol=TOLERANCE)
    jax.tree.map(close, found, expected)


@pytest.fixture(scope="module")
def task():
    return make()


@pytest.fixture(scope="module")
def splits():
    return image_sources.digits(num_dev=25, num_test=1572)


def random_variables(task):
    shapes = nn.meta.unbox(jax.eval_shape(task.model.init, jax.random.key(0)))
    rng = np.random.default_rng(0)
    draw = lambda leaf: 0.1 * rng.standard_normal(leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, shapes)


@pytest.fixture(scope="module")
def variables(task):
    return random_variables(task)


@functools.partial(jax.jit, static_argnames="num_classes")
def logits_of(variables, pixels, *, num_classes: int):
    """Of images as they are, by the network of the shipped config."""
    model = cnn.small_cnn(padding=1)(num_classes=num_classes)
    return model.apply(variables, pixels, mask_B=np.ones(len(pixels), bool), train=False)


# --- batches --------------------------------------------------------------------------------------


def test_an_epoch_shows_every_image_once_and_each_epoch_in_an_order_of_its_own(splits):
    plain, stored = make({"augment.pad_crop": "0"}).data.train, splits["train"]
    epochs = [plain.rows(np.arange(200) + 200 * epoch) for epoch in range(2)]
    orders = [np.concatenate(plain.examples(np.arange(200) + 200 * epoch)) for epoch in range(2)]
    assert not np.array_equal(*orders)
    for rows, order in zip(epochs, orders):
        np.testing.assert_array_equal(np.sort(order), np.arange(200))
        np.testing.assert_array_equal(rows["image"], stored.pixels(order))
        np.testing.assert_array_equal(rows["label"], stored.labels[order])
        assert rows["mask"].all()


def test_a_row_is_the_same_however_rows_are_made_together():
    dataset = make(MIXED | {"augment.flip": "true", "augment.cutout": "3"}).data.train
    whole = global_batch(dataset, step=7, rows=np.arange(30))
    parts = [global_batch(dataset, step=7, rows=rows) for rows in np.split(np.arange(30), [11])]
    for name, expected in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), expected)
    assert {"partner_image", "partner_label", "lam", "box"} < set(whole)


def test_a_partner_is_another_row_of_the_batch_as_that_row_is_itself_augmented():
    dataset = make(MIXED | {"augment.flip": "true", "augment.cutout": "3"}).data.train
    for number in range(5):
        batch = global_batch(dataset, step=number, rows=np.arange(30))
        row_of = {image.tobytes(): i for i, image in enumerate(batch["image"])}
        partners = [row_of[image.tobytes()] for image in batch["partner_image"]]
        assert sorted(partners) == list(range(30))
        assert all(partner != row for row, partner in enumerate(partners))
        np.testing.assert_array_equal(batch["partner_label"], batch["label"][partners])


def test_evaluation_rows_are_the_images_in_order_and_then_none(task, splits):
    dev = task.data.evals["dev"]
    rows = dev.rows(np.arange(dev.num_rows + 3))
    assert dev.num_rows == 25
    np.testing.assert_array_equal(rows["image"][:25], splits["dev"].pixels(np.arange(25)))
    np.testing.assert_array_equal(rows["label"][:25], splits["dev"].labels)
    assert rows["mask"][:25].all()
    assert not any(x[25:].any() for x in rows.values())


# --- the loss -------------------------------------------------------------------------------------


@pytest.fixture
def with_rare_classes(monkeypatch):
    monkeypatch.setitem(image_sources.IMAGE_SOURCES, "digits", skewed)


def mixed_slowly(batch, row: int) -> np.ndarray:
    """Pixel by pixel: the row's image, scaled, with its partner's in it."""
    own, partner = (
        batch[name][row].astype(np.float64) / 127.5 - 1 for name in ("image", "partner_image")
    )
    top, bottom, left, right = batch["box"][row].tolist()
    for y in range(own.shape[0]):
        for x in range(own.shape[1]):
            if bottom > top:
                share = 0.0 if top <= y < bottom and left <= x < right else 1.0
            else:
                share = float(batch["lam"][row])
            own[y, x] = share * own[y, x] + (1 - share) * partner[y, x]
    return own


def loss_slowly(variables, batch, *, smoothing: float, weights) -> float:
    """Row by row in float64, from the logits of the mixed images. Divided by the sum of weights, as
    PyTorch's cross_entropy(weight=...) does."""
    pixels = np.stack([mixed_slowly(batch, row) for row in range(len(batch["label"]))])
    logits = logits_of(variables, pixels.astype(np.float32), num_classes=len(weights))
    total = count = 0.0
    for row in np.flatnonzero(batch["mask"]):
        scores = np.asarray(logits[row], np.float64)
        losses = np.log(np.exp(scores).sum()) - scores
        lam = float(batch["lam"][row])
        for part, label in ((lam, batch["label"][row]), (1 - lam, batch["partner_label"][row])):
            smooth = (1 - smoothing) * losses[label] + smoothing * losses.mean()
            total += part * weights[label] * smooth
            count += part * weights[label]
    return total / count


LOSSES = {
    "mixup": {"augment.mixup_alpha": "0.4"},
    "cutmix": {"augment.cutmix_alpha": "1"},
    "mixup, smoothing and weights": {
        "augment.mixup_alpha": "0.4",
        "loss.label_smoothing": "0.3",
        "loss.class_weights": "balanced",
    },
}


@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.usefixtures("with_rare_classes")
def test_the_loss_equals_numpys_over_mixed_images_made_pixel_by_pixel(case):
    task, labels = make(LOSSES[case]), skewed()["train"].labels
    variables = random_variables(task)
    # Six of the rows do not exist.
    batch = global_batch(task.data.train, step=3, rows=np.arange(36))
    assert 0 < batch["lam"][0] < 1 and ("cutmix" in case) == batch["box"].any()
    weights = np.ones(7)
    if "weights" in case:
        weights = compute_class_weight("balanced", classes=np.arange(7), y=labels)
        assert weights.max() > 5 * weights.min()
    smoothing = 0.3 if "smoothing" in case else 0.0
    outputs, state = jax.jit(task.model.apply)(variables, batch, jax.random.key(0))
    sums = task.model.train_sums(outputs, batch)
    expected = loss_slowly(variables, batch, smoothing=smoothing, weights=weights)
    assert float(sums["loss"].compute()) == pytest.approx(expected, rel=TOLERANCE)
    assert int(sums["accuracy"].count) == 30 and state == {}


def test_only_the_proportions_of_class_weights_count(variables):
    """However small they are: an update divides by the sum of a batch's weights, here below 1."""

    def gradient(scale: float):
        task = make({"loss.class_weights": str([scale] + [2 * scale] * 9)})
        batch = global_batch(task.data.train, step=0, rows=np.arange(30))
        state = TrainState(0, variables["params"], {}, None, None)
        key = jax.random.key(0)
        grads, *_ = jax.jit(
            lambda state: mean_gradients(task.model, state, batch, key=key, num_microbatches=1)
        )(state)
        return grads

    found, expected = gradient(0.002), gradient(1.0)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=TOLERANCE)


@pytest.mark.parametrize("weights", ["[1, 2]", "[]", str([0.0] * 10)])
def test_class_weights_that_do_not_fit_are_one_line(weights):
    with pytest.raises(UserError, match=r"^loss.class_weights=\(.*\): expected 10 num") as error:
        make({"loss.class_weights": weights})
    assert str(error.value).endswith("one for each of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; or 'balanced'")


def test_a_negative_class_weight_is_outside_its_limits():
    expected = r"class_weights=\(1, -1\): expected each number 0 or more, or 'balanced', or None$"
    with pytest.raises(UserError, match=expected):
        make({"loss.class_weights": "1,-1"})


def test_smoothing_and_weights_are_of_the_training_loss_alone(task, variables):
    batch = task.data.evals["dev"].rows(np.arange(25))
    weights = str([*range(1, 11)])
    changed = make({"loss.label_smoothing": "0.5", "loss.class_weights": weights})
    outputs, _ = jax.jit(task.model.apply)(variables, batch, None)
    plain, found = (t.model.eval_sums(outputs, batch) for t in (task, changed))
    assert_bitwise_equal(found, plain)


# --- parts, chunks and devices --------------------------------------------------------------------


WEIGHTED = MIXED | {"loss.class_weights": str([*range(1, 11)])}


@pytest.fixture(scope="module")
def plain_updates():
    """Three updates of a network without batch statistics, in one part and one chunk."""
    state, losses = updates(built(WEIGHTED), num_steps=3)
    assert len(set(losses)) == 3
    return jax.device_get(state.params), losses


def test_parts_of_a_batch_add_up(plain_updates):
    run = built(WEIGHTED | {"batch.accumulate": "8"})
    assert run.num_rows == 32
    state, losses = updates(run, num_steps=3)
    assert losses == pytest.approx(plain_updates[1], rel=TOLERANCE)
    assert_trees_close(jax.device_get(state.params), plain_updates[0])


@pytest.mark.parametrize("num_devices", [1, 8])
def test_chunks_of_a_batch_add_up_on_any_number_of_devices(plain_updates, monkeypatch, num_devices):
    monkeypatch.setattr(model, "CHUNK_ROWS", 1)  # for each of the eight devices
    counted = []
    in_parts = microbatches.in_parts

    def counting(*args, num_parts: int):
        counted.append(num_parts)
        return in_parts(*args, num_parts=num_parts)

    monkeypatch.setattr(microbatches, "in_parts", counting)
    state, losses = updates(built(WEIGHTED, num_devices=num_devices), num_steps=3)
    assert set(counted) == {{1: 5, 8: 4}[num_devices]}  # of 30 rows, and of 32
    assert losses == pytest.approx(plain_updates[1], rel=TOLERANCE)
    assert_trees_close(jax.device_get(state.params), plain_updates[0])


# --- evaluation -----------------------------------------------------------------------------------


def scores_of(task, variables, *, num_devices: int, batch_rows: int):
    mesh = mesh_of(num_devices)
    place = sharding.replicated(mesh)
    resized = {"dev": task.data.evals["dev"]._replace(batch_rows=batch_rows)}
    task = task._replace(data=task.data._replace(evals=resized))
    variables = jax.device_put(variables, place)
    scorer = Scorer(task, mesh, variables, {}, make_eval_step(task, mesh=mesh))
    return evaluate(scorer, split="dev", variables=variables, between=lambda: None)


@pytest.mark.parametrize(("num_devices", "batch_rows"), [(1, 7), (3, 5), (8, 60)])
def test_every_image_is_scored_once_at_any_batch_size(
    task, splits, variables, num_devices, batch_rows
):
    """The loss and the accuracy against numpy, of logits of all images at once."""
    found = scores_of(task, variables, num_devices=num_devices, batch_rows=batch_rows)
    dev = splits["dev"]
    pixels = (dev.pixels(np.arange(25)) / 127.5 - 1).astype(np.float32)
    logits = np.asarray(logits_of(variables, pixels, num_classes=10), np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(25), dev.labels]
    right = logits.argmax(1) == dev.labels
    assert found.scalars["loss"] == pytest.approx(losses.mean(), rel=TOLERANCE)
    assert found.scalars["accuracy"] == right.mean()
    assert set(found.scalars) == {score.name for score in task.scoring.declared}
    confusion = next(s for s in found.sections if s["kind"] == "confusion")
    pairs = collections.Counter(zip(dev.labels.tolist(), logits.argmax(1).tolist()))
    assert len(set(logits.argmax(1))) > 1  # else equal scores would prove little
    assert {
        (i, j): n for i, row in enumerate(confusion["counts"]) for j, n in enumerate(row) if n
    } == pairs


# --- the task -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("small_cnn", {"padding": 1}),
        ("fast_cnn", {}),
        ("resnet18", {}),
        ("resnet50", {"stem": "imagenet"}),
    ],
)
def test_depths_rise_from_the_input_to_the_head(name, settings):
    """In the order in which the layers run; those of one block have one depth."""
    network = cnn.NETWORKS[name](**settings)(num_classes=10)
    order = []

    def note(call, args, kwargs, context):
        if len(context.module.path) == 1 and context.method_name == "__call__":
            order.append(context.module.name)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes = jax.eval_shape(
            functools.partial(model._init, network, shape=(32, 32, 1)),
            jax.random.key(0),
        )
    depths = model._layer_depths(shapes["params"])
    assert jax.tree.structure(depths) == jax.tree.structure(shapes["params"])
    of_layer = {layer: set(jax.tree.leaves(tree)) for layer, tree in depths.items()}
    assert all(len(found) == 1 for found in of_layer.values())
    found = [min(of_layer[layer]) for layer in dict.fromkeys(order)]
    assert found == sorted(found)
    assert sorted(set(found)) == list(range(max(found) + 1))
    assert found.count(max(found)) == 1 and order[-1] == "head"


def test_the_run_keeps_the_names_of_the_classes(task):
    assert task.use.files["classes.txt"].split() == [*"0123456789"]
