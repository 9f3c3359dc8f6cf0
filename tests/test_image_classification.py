"""The task of classifying images, and whole runs of it: that a batch is what it should be, the loss
against numpy, that nothing but rounding depends on devices, parts and chunks of a batch, and that a
run that was stopped ends as if it had not been."""

import collections
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from jax.sharding import Mesh
from sklearn.utils.class_weight import compute_class_weight

from bigjax import config as configs
from bigjax import restore, settings, setup, sharding, start, step, train
from bigjax.checkpoint import Checkpoints
from bigjax.data import image_sources, images
from bigjax.data.pipeline import global_batch
from bigjax.errors import UserError
from bigjax.evaluate import evaluate
from bigjax.models import cnn
from bigjax.tasks import image_classification

TOLERANCE = 1e-5
CURVE_TOLERANCE = 1e-4  # of a whole run
DIGITS = ROOT / "configs" / "cnn_digits.py"
SMALL = {"data.num_dev": "25", "data.num_test": "1572", "batch.rows": "30"}  # 200 to train on
MIXED = {"augment.mixup_alpha": "0.4", "augment.cutmix_alpha": "1"}
NUM_STEPS = 24


def load(overrides=(), *, file: Path = DIGITS) -> configs.Config:
    given = SMALL | dict(overrides)
    return configs.load(str(file), overrides=given, schema=settings.schema)


def make(overrides=()):
    return image_classification.make(load(overrides))


def mesh_of(num_devices: int) -> Mesh:
    devices = np.array(jax.devices()[:num_devices]).reshape(num_devices, 1, 1)
    return Mesh(devices, sharding.AXES)


@pytest.fixture
def on_one_device(monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", lambda spec: mesh_of(1))  # noqa: ARG005


def assert_bitwise_equal(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def assert_trees_close(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    close = functools.partial(np.testing.assert_allclose, rtol=TOLERANCE, atol=TOLERANCE)
    jax.tree.map(close, found, expected)


@pytest.fixture(scope="module")
def task():
    return make()


@pytest.fixture(scope="module")
def splits():
    return image_sources.digits(source="digits", num_dev=25, num_test=1572)


@pytest.fixture(scope="module")
def variables(task):
    """Small random parameters."""
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    draw = lambda leaf: 0.1 * rng.standard_normal(leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, shapes)


# --- batches --------------------------------------------------------------------------------------


def test_an_epoch_shows_every_image_once_and_each_epoch_in_an_order_of_its_own(splits):
    plain, images = make({"augment.pad_crop": "0"}).train, splits["train"]
    epochs = [plain.rows(np.arange(200) + 200 * epoch) for epoch in range(2)]
    orders = [np.concatenate(plain.examples(np.arange(200) + 200 * epoch)) for epoch in range(2)]
    assert not np.array_equal(*orders)
    for rows, order in zip(epochs, orders):
        np.testing.assert_array_equal(np.sort(order), np.arange(200))
        np.testing.assert_array_equal(rows["image"], images.pixels(order))
        np.testing.assert_array_equal(rows["label"], images.labels[order])
        assert rows["mask"].all()


def test_a_row_is_the_same_however_rows_are_made_together():
    dataset = make(MIXED | {"augment.flip": "true", "augment.cutout": "3"}).train
    whole = global_batch(dataset, step=7, rows=np.arange(30))
    parts = [global_batch(dataset, step=7, rows=rows) for rows in np.split(np.arange(30), [11])]
    for name, expected in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), expected)
    assert {"partner_image", "partner_label", "lam", "box"} < set(whole)


def test_a_partner_is_another_row_of_the_batch_as_that_row_is_itself_augmented():
    dataset = make(MIXED | {"augment.flip": "true", "augment.cutout": "3"}).train
    for number in range(5):
        batch = global_batch(dataset, step=number, rows=np.arange(30))
        row_of = {image.tobytes(): i for i, image in enumerate(batch["image"])}
        partners = [row_of[image.tobytes()] for image in batch["partner_image"]]
        assert sorted(partners) == list(range(30))
        assert all(partner != row for row, partner in enumerate(partners))
        np.testing.assert_array_equal(batch["partner_label"], batch["label"][partners])


def test_evaluation_rows_are_the_images_in_order_and_then_none(task, splits):
    dev = task.evals["dev"]
    rows = dev.rows(np.arange(dev.num_rows + 3))
    assert dev.num_rows == 25
    np.testing.assert_array_equal(rows["image"][:25], splits["dev"].pixels(np.arange(25)))
    np.testing.assert_array_equal(rows["label"][:25], splits["dev"].labels)
    assert rows["mask"][:25].all()
    assert not any(x[25:].any() for x in rows.values())


# --- the loss -------------------------------------------------------------------------------------


def skewed(
    *, source: Literal["digits"], num_dev: int = 25, num_test: int = 1572, seed: int = 0
) -> image_sources.Splits:
    """The digits 0 to 6, of which in training the higher ones are rare."""
    splits = image_sources.digits(source=source, num_dev=num_dev, num_test=num_test, seed=seed)

    def pick(split: str, labels: np.ndarray) -> images.Images:
        place = np.arange(len(labels))
        kept = (labels < 7) & ((split != "train") | (place % (labels + 1) == 0))
        ids = np.flatnonzero(kept)
        pixels = splits[split].pixels(ids)
        return images.in_memory(pixels, labels=labels[ids], class_names="0123456", where=split)

    return {split: pick(split, found.labels) for split, found in splits.items()}


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


def loss_slowly(model, variables, batch, *, smoothing: float, weights) -> float:
    """Row by row in float64, from the logits of the mixed images. Divided by the sum of weights, as
    PyTorch's cross_entropy(weight=...) does."""
    pixels = np.stack([mixed_slowly(batch, row) for row in range(len(batch["label"]))])
    logits = model.apply(variables, pixels.astype(np.float32), mask_B=batch["mask"], train=True)
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
    task, labels = make(LOSSES[case]), skewed(source="digits")["train"].labels
    model = cnn.small_cnn(name="small_cnn", padding=1)(num_classes=7)
    variables = jax.jit(task.init)(jax.random.key(0))
    # Six of the rows do not exist.
    batch = global_batch(task.train, step=3, rows=np.arange(36))
    assert 0 < batch["lam"][0] < 1 and ("cutmix" in case) == batch["box"].any()
    weights = np.ones(7)
    if "weights" in case:
        weights = compute_class_weight("balanced", classes=np.arange(7), y=labels)
        assert weights.max() > 5 * weights.min()
    smoothing = 0.3 if "smoothing" in case else 0.0
    sums, state = jax.jit(task.loss)(variables, batch, jax.random.key(0))
    expected = loss_slowly(model, variables, batch, smoothing=smoothing, weights=weights)
    assert float(sums["loss"].compute()) == pytest.approx(expected, rel=TOLERANCE)
    assert int(sums["accuracy"].count) == 30 and state == {}


def gradient_of(task, variables, *, num_rows: int = 30):
    state = step.TrainState(jnp.int32(0), variables["params"], {}, None, None)
    batch = global_batch(task.train, step=0, rows=np.arange(num_rows))
    return jax.jit(
        lambda batch: step.mean_gradients(
            task.loss, state, batch, key=jax.random.key(0), num_microbatches=1
        )[:2]
    )(batch)


def test_only_the_proportions_of_class_weights_count(variables):
    """However small they are: here those of a whole batch come to less than 1."""
    ones, tiny = (
        gradient_of(make({"loss.class_weights": str([scale] + [2 * scale] * 9)}), variables)
        for scale in (1.0, 0.001)
    )
    for found, expected in zip(jax.tree.leaves(tiny[0]), jax.tree.leaves(ones[0])):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=1e-7)
    assert np.abs(ones[0]["head"]["bias"]).max() > 1e-3


@pytest.mark.parametrize("weights", ["[1, 2]", "[]", str([1.0] * 9 + [-1.0]), str([0.0] * 10)])
def test_class_weights_that_do_not_fit_are_one_line(weights):
    with pytest.raises(UserError, match=r"^loss.class_weights=\(.*\): expected 10 num") as error:
        make({"loss.class_weights": weights})
    assert str(error.value).endswith("one for each of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; or 'balanced'")


def test_smoothing_and_weights_are_of_the_training_loss_alone(task, variables):
    batch = task.evals["dev"].rows(np.arange(25))
    weights = str([*range(1, 11)])
    changed = make({"loss.label_smoothing": "0.5", "loss.class_weights": weights})
    plain, found = (jax.jit(t.predict)(variables, batch)[0] for t in (task, changed))
    assert_bitwise_equal(found, plain)


# --- parts, chunks and devices --------------------------------------------------------------------


def built(overrides=(), *, file: Path = DIGITS, num_devices: int = 1) -> setup.Setup:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", lambda spec: mesh_of(num_devices))  # noqa: ARG005
        return setup.build(load(overrides, file=file))


def updates(run: setup.Setup, *, num_steps: int):
    """The state after some updates, and the loss of each."""
    state, _ = start.new_state(run)
    losses = []
    for number in range(num_steps):
        batch = sharding.put_batch(
            run.task.train, step=number, mesh=run.mesh, num_rows=run.num_rows
        )
        state, scalars = run.train_step(state, batch)
        losses.append(float(scalars["loss"]))
    return state, losses


@pytest.fixture(scope="module")
def plain_updates():
    """Three updates of a network without batch statistics, in one part and one chunk."""
    state, losses = updates(built(MIXED), num_steps=3)
    assert len(set(losses)) == 3
    return jax.device_get(state.params), losses


@pytest.mark.parametrize("num_parts", [2, 8])
def test_parts_of_a_batch_add_up(plain_updates, num_parts):
    run = built(MIXED | {"batch.accumulate": str(num_parts)})
    assert run.num_rows == {2: 30, 8: 32}[num_parts]
    state, losses = updates(run, num_steps=3)
    assert losses == pytest.approx(plain_updates[1], rel=TOLERANCE)
    assert_trees_close(jax.device_get(state.params), plain_updates[0])


@pytest.mark.parametrize("num_devices", [1, 8])
def test_chunks_of_a_batch_add_up_on_any_number_of_devices(plain_updates, monkeypatch, num_devices):
    monkeypatch.setattr(image_classification, "CHUNK_ROWS", 1)  # for each of the eight devices
    counted = []
    in_chunks = image_classification.chunks.sums_in_chunks

    def counting(*args, num_chunks: int):
        counted.append(num_chunks)
        return in_chunks(*args, num_chunks=num_chunks)

    monkeypatch.setattr(image_classification.chunks, "sums_in_chunks", counting)
    state, losses = updates(built(MIXED, num_devices=num_devices), num_steps=3)
    assert set(counted) == {{1: 5, 8: 4}[num_devices]}  # of 30 rows, and of 32
    assert losses == pytest.approx(plain_updates[1], rel=TOLERANCE)
    assert_trees_close(jax.device_get(state.params), plain_updates[0])


def test_what_is_frozen_stays_bitwise_as_it_was():
    rules = "(('(conv|bias)_[01]/.*', 0.0), ('.*', 1.0))"
    run = built({"optim.learning_rate_rules": rules})
    before = jax.device_get(start.new_state(run)[0].params)
    after = jax.device_get(updates(run, num_steps=3)[0].params)
    frozen = {"conv_0", "conv_1", "bias_0", "bias_1"}
    assert frozen < set(after) == set(before)
    for name, params in after.items():
        for x, y in zip(jax.tree.leaves(params), jax.tree.leaves(before[name])):
            assert np.array_equal(x, y) == (name in frozen)


# --- evaluation -----------------------------------------------------------------------------------


def scores_of(task, variables, *, num_devices: int, batch_rows: int):
    mesh = mesh_of(num_devices)
    place = sharding.replicated(mesh)
    return evaluate(
        task._replace(evals={"dev": task.evals["dev"]._replace(batch_rows=batch_rows)}),
        split="dev",
        variables=jax.device_put(variables, place),
        eval_step=jax.jit(task.predict, out_shardings=place),
        mesh=mesh,
        between=lambda: None,
    )


@pytest.mark.parametrize(("num_devices", "batch_rows"), [(1, 1), (1, 7), (3, 5), (8, 3), (8, 60)])
def test_every_image_is_scored_once_at_any_batch_size(
    task, splits, variables, num_devices, batch_rows
):
    """The loss and the accuracy against numpy, of logits of all images at once."""
    found = scores_of(task, variables, num_devices=num_devices, batch_rows=batch_rows)
    dev = splits["dev"]
    model = cnn.small_cnn(name="small_cnn", padding=1)(num_classes=10)
    pixels = (dev.pixels(np.arange(25)) / 127.5 - 1).astype(np.float32)
    run = jax.jit(functools.partial(model.apply, train=False))
    logits = np.asarray(run(variables, pixels, mask_B=np.ones(25, bool)), np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(25), dev.labels]
    right = logits.argmax(1) == dev.labels
    assert found.scalars["loss"] == pytest.approx(losses.mean(), rel=TOLERANCE)
    assert found.scalars["accuracy"] == right.mean()
    assert set(found.scalars) == set(task.score_names)
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
    model = cnn.NETWORKS[name](name=name, **settings)(num_classes=10)
    order = []

    def note(call, args, kwargs, context):
        if len(context.module.path) == 1 and context.method_name == "__call__":
            order.append(context.module.name)
        return call(*args, **kwargs)

    with image_classification.nn.intercept_methods(note):
        shapes = jax.eval_shape(
            functools.partial(image_classification._init, model, shape=(32, 32, 1)),
            jax.random.key(0),
        )
    depths = image_classification._layer_depths(shapes["params"])
    assert jax.tree.structure(depths) == jax.tree.structure(shapes["params"])
    of_layer = {layer: set(jax.tree.leaves(tree)) for layer, tree in depths.items()}
    assert all(len(found) == 1 for found in of_layer.values())
    found = [min(of_layer[layer]) for layer in dict.fromkeys(order)]
    assert found == sorted(found)
    assert sorted(set(found)) == list(range(max(found) + 1))
    assert found.count(max(found)) == 1 and order[-1] == "head"


def test_the_run_keeps_the_names_of_the_classes(task):
    assert task.files["classes.txt"].split() == [*"0123456789"]


@pytest.mark.parametrize("name", ["train.py", "step.py", "state.py", "evaluate.py", "setup.py"])
def test_the_loop_names_no_task(name):
    source = (ROOT / "bigjax" / name).read_text(encoding="utf-8")
    assert not re.findall(r".*(?:image|pixel|token|sentence|label|tagging).*", source, re.I)


# --- runs -----------------------------------------------------------------------------------------

EVERYTHING = SMALL | MIXED | {
    "num_epochs": "none",
    "num_steps": str(NUM_STEPS),
    "ema_decay": "0.8",
    "model.widths": "(8, 16)",
    "augment.flip": "true",
    "augment.cutout": "3",
    "augment.randaugment_layers": "1",
    "loss.label_smoothing": "0.1",
    "loss.class_weights": "balanced",
    "optim.learning_rate": "0.01",
    "eval.every_epochs": "none",
    "eval.every_steps": "8",
    "eval.batch_rows": "100",
    "checkpoint.every_steps": "5",
    "checkpoint.every_minutes": "none",
    "log.every_steps": "1",
    "log.batches": "true",
}  # fmt: skip
TIMING = ("_per_second", "input_wait")


@pytest.fixture(scope="module")
def fast_file(tmp_path_factory):
    """The shipped config with the network that has batch statistics."""
    shipped = DIGITS.read_text(encoding="utf-8")
    changed = shipped.replace('{"name": "small_cnn", "padding": 1}', '{"name": "fast_cnn"}')
    assert changed != shipped
    file = tmp_path_factory.mktemp("config") / "cnn_fast.py"
    file.write_text(changed, encoding="utf-8")
    return file


class Run(NamedTuple):
    setup: setup.Setup
    workdir: Path
    scores: dict[str, float]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fast_file):
    """A whole run on one device, with all there is of augmentation; not to be written to."""
    workdir = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", lambda spec: mesh_of(1))  # noqa: ARG005
        config = load(EVERYTHING, file=fast_file)
        scores = train.train(config, workdir=str(workdir))
        return Run(setup.build(config), workdir, scores)


def last_state(run: Run, *, workdir: Path):
    checkpoints = Checkpoints(str(workdir), keep_latest=1, keep_best=1)
    state, _ = checkpoints.restore(NUM_STEPS, like=run.setup.state)
    checkpoints.close()
    return state


def metrics_of(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl without what was measured by the clock."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not k.endswith(TIMING)} for line in lines]


def curve(workdir: Path, name: str) -> list[float]:
    return [line[name] for line in metrics_of(workdir) if name in line]


def test_a_run_with_everything_on_learns(finished):
    losses = curve(finished.workdir, "train/loss")
    assert len(losses) == NUM_STEPS
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    state = last_state(finished, workdir=finished.workdir)
    assert set(state.model_state) == {"batch_stats"}
    for moments in jax.tree.leaves(state.model_state):
        assert not np.array_equal(moments, np.round(moments))  # they have left 0 and 1


@pytest.mark.usefixtures("on_one_device")
def test_the_same_seed_gives_bitwise_the_same_state_twice_in_a_row(finished):
    states = [updates(finished.setup, num_steps=10)[0] for _ in range(2)]
    assert_bitwise_equal(*states)


@pytest.mark.usefixtures("on_one_device")
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(finished, tmp_path, monkeypatch):
    """Batch statistics, averaged parameters, metrics and the record of batches included."""
    build = setup.build

    def stopping_at_13(config):
        run = build(config)

        def train_step(state, batch):
            if int(state.step) == 13:
                raise KeyboardInterrupt
            return run.train_step(state, batch)

        return run._replace(train_step=train_step)

    config = finished.setup.config
    with monkeypatch.context() as patch:
        patch.setattr(train, "build", stopping_at_13)
        with pytest.raises(KeyboardInterrupt):
            train.train(config, workdir=str(tmp_path))
    assert train.train(config, workdir=str(tmp_path)) == finished.scores
    states = [last_state(finished, workdir=workdir) for workdir in (tmp_path, finished.workdir)]
    assert_bitwise_equal(*states)
    assert states[0].ema is not None
    assert metrics_of(tmp_path) == metrics_of(finished.workdir)
    for name in ("batches.jsonl", "classes.txt"):
        assert (tmp_path / name).read_bytes() == (finished.workdir / name).read_bytes()


def test_eight_devices_give_the_curve_of_one(finished, tmp_path):
    """Which do not divide a batch of 30 rows."""
    scores = train.train(finished.setup.config, workdir=str(tmp_path))
    for found, expected in zip(metrics_of(tmp_path), metrics_of(finished.workdir), strict=True):
        assert found == pytest.approx(expected, rel=CURVE_TOLERANCE)
    assert scores == pytest.approx(finished.scores, rel=CURVE_TOLERANCE)


@pytest.mark.usefixtures("with_rare_classes")
def test_a_run_gives_its_body_and_statistics_to_one_with_another_head(finished, fast_file):
    given = EVERYTHING | {"init.checkpoint": str(finished.workdir), "ema_decay": "none"}
    run = built(given, file=fast_file)
    found, _ = start.new_state(run)
    random, _ = start.new_state(built(given | {"init.checkpoint": "none"}, file=fast_file))
    params, model_state, _ = restore.read_params(str(finished.workdir))
    assert found.params["head"]["bias"].shape == (7,)
    assert_bitwise_equal(found.params["head"], random.params["head"])
    body = lambda params: {name: tree for name, tree in params.items() if name != "head"}  # noqa: E731
    assert_bitwise_equal(body(found.params), body(params))
    assert_bitwise_equal(found.model_state, model_state)


# --- from the command line ------------------------------------------------------------------------


def run_main(*flags: str, home: Path) -> str:
    """Runs main.py as a user would, on one device; what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    finished = subprocess.run(
        [sys.executable, "main.py", *flags],
        cwd=ROOT,
        env=environment | {"XDG_CACHE_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The folder of a run of the shipped config as it is, what it printed, and where its cache is."""
    folder = tmp_path_factory.mktemp("digits")
    flags = (f"--config={DIGITS}", f"--workdir={folder}/run")
    return folder / "run", run_main(*flags, home=folder), folder


def test_the_shipped_config_reaches_its_accuracy_and_shows_its_mistakes(shipped):
    workdir, printed, _ = shipped
    results = json.loads((workdir / "results.json").read_text())
    assert results["scores"]["test/accuracy"] >= 0.98
    assert "finished at step 842" in printed
    confusion = next(s for s in results["sections"] if s["kind"] == "confusion")
    counts = np.array(confusion["counts"])
    assert counts.sum() == 300
    num_wrong = int(counts.sum() - np.trace(counts))
    assert 1 - num_wrong / 300 == pytest.approx(results["scores"]["test/accuracy"])
    pictures = [s for s in results["sections"] if s["kind"] == "images"]
    assert sum(len(s["items"]) for s in pictures) == min(num_wrong, 24)
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == min(num_wrong, 24)


def test_the_shipped_run_is_evaluated_anew_with_the_same_scores(shipped):
    workdir, _, home = shipped
    results = json.loads((workdir / "results.json").read_text())
    (workdir / "results.json").unlink()
    run_main("--mode=evaluate", f"--workdir={workdir}", home=home)
    assert json.loads((workdir / "results.json").read_text()) == results


def test_check_shows_the_data_and_the_size_of_the_network(shipped):
    printed = run_main("--mode=check", f"--config={DIGITS}", home=shipped[2])
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "parameters 72,842" in lines
    assert any(line.startswith("train: images 1,347 of 8 x 8 pixels") for line in lines)
