"""Distillation: the loss beside a slow loop, which teachers are refused, and a run from start to
use."""

import shutil
import types

import jax
import numpy as np
import pytest
from conftest import ROOT
from finished import write_conll
from tiny_runs import one_device

from bigjax.checkpoints import manifest
from bigjax.config import values as configs
from bigjax.engine import settings, sharding
from bigjax.engine.build import build
from bigjax.errors import UserError
from bigjax.inference import predictor
from bigjax.loop import starting_points
from bigjax.methods import distillation
from bigjax.methods.distillation import Distillation
from bigjax.modes import evaluate, train
from bigjax.scores.metrics import Mean
from bigjax.tasks.task import Model
from bigjax.trees import flatten

RNG = np.random.default_rng(0)
BATCH = {"x": RNG.normal(size=(4, 3, 5)).astype(np.float32), "mask": RNG.random((4, 3)) < 0.7}


def linear(weight: float = 1.0) -> Model:
    """Logits (B, L, 6) of `BATCH`; the loss of its labels is the mean of the first logit."""

    def apply(variables, batch, key):
        del key
        return {"logits": batch["x"] @ variables["params"]["kernel"]}, {}

    def sums(outputs, batch):
        return {"loss": Mean.of(weight * outputs["logits"][..., 0], batch["mask"])}

    init = lambda key: {"params": {"kernel": jax.random.normal(key, (5, 6))}}  # noqa: E731
    return Model(init, apply, sums, sums, layer_depths=lambda params: params)


def taught(**given):
    parts = distillation._Taught(linear(), linear(), Distillation(teacher="there", **given))
    student, teacher = (linear().init(jax.random.key(i)) for i in (1, 2))
    variables = {**student, "frozen": {"teacher": teacher}}

    def sums(batch):
        outputs, _ = distillation._apply(parts, variables, batch, jax.random.key(0))
        return distillation._train_sums(parts, outputs, batch)

    return sums, variables


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@pytest.mark.parametrize(("weight", "temperature"), [(0.5, 2.0), (1.0, 1.0), (0.0, 3.0)])
def test_the_loss_is_that_of_a_slow_loop(weight, temperature):
    sums, variables = taught(weight=weight, temperature=temperature)
    ours, theirs = (
        BATCH["x"].astype(np.float64) @ np.asarray(of["params"]["kernel"], np.float64)
        for of in (variables, variables["frozen"]["teacher"])
    )
    losses = []
    for b, i in zip(*np.nonzero(BATCH["mask"])):
        p, q = (softmax(of[b, i] / temperature) for of in (theirs, ours))
        soft = temperature**2 * sum(p[c] * (np.log(p[c]) - np.log(q[c])) for c in range(6))
        losses.append((1 - weight) * ours[b, i, 0] + weight * soft)
    assert float(sums(BATCH)["loss"].compute()) == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_position_counts_with_its_weight():
    sums, _ = taught(weight=1.0)
    halves = BATCH | {"weight": np.full((4, 3), 0.5, np.float32)}
    whole, half = (float(sums(batch)["loss"].total) for batch in (BATCH, halves))
    assert half == pytest.approx(whole / 2, rel=1e-5)


def test_parts_of_a_batch_add_up_to_the_whole():
    sums, _ = taught()
    whole = sums(BATCH)["loss"]
    parts = [
        sums({name: x[rows] for name, x in BATCH.items()})["loss"] for rows in ([0], [1, 2, 3])
    ]
    assert float(parts[0].merge(parts[1]).compute()) == pytest.approx(
        float(whole.compute()), rel=1e-5
    )


def test_evaluation_and_prediction_do_not_ask_the_teacher():
    parts = distillation._Taught(linear(), linear(), Distillation(teacher="there"))
    outputs, _ = distillation._apply(parts, linear().init(jax.random.key(1)), BATCH, None)
    assert set(outputs) == {"logits"}


# --- a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teach(finished_run, tmp_path_factory):
    """Builds, or trains, a student of one layer of the finished tagger."""
    teacher, _, _ = finished_run
    folder = tmp_path_factory.mktemp("taught")
    data = write_conll(folder / "train.conll", num_sentences=40)
    overrides = {
        "num_epochs": "none", "num_steps": "4", "eval.every_epochs": "none", "data.train": data,
        "data.dev": write_conll(folder / "dev.conll", num_sentences=10), "text.row_length": "32",
        "init.checkpoint": str(teacher), "init.layers": "1", "distill.teacher": str(teacher),
        "distill.hidden": "0.1",
    }  # fmt: skip

    def config(**more):
        file = f"{ROOT}/configs/bert_ner.py:files"
        return configs.load(file, overrides=overrides | more, schema=settings.schema)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        yield types.SimpleNamespace(config=config, teacher=teacher, folder=folder, data=data)


def test_a_student_begins_as_the_chosen_layers_learns_and_is_used_without_its_teacher(teach):
    setup = build(teach.config())
    state, _ = starting_points.new_state(setup)
    whole = predictor.load(str(teach.teacher)).members[0].variables["params"]
    for name, x in flatten(whole["encoder"]["layer_1"]).items():
        found = flatten(state.params["encoder"]["layer_0"])[name]
        np.testing.assert_array_equal(found, x, err_msg=name)
    assert "layer_1" not in state.params["encoder"]
    teacher = teach.folder / "gone"
    shutil.copytree(teach.teacher, teacher)
    workdir = teach.folder / "run"
    config = teach.config(**{"distill.teacher": str(teacher)})
    scores = train.train(config, workdir=str(workdir))
    shutil.rmtree(teacher)
    kept = manifest.read(str(workdir / "checkpoints" / "4"))
    assert not [name for name in kept.arrays if "teacher" in name]
    assert {name.split("/")[0] for name in kept.facts["frozen"]} == {"teacher"}
    assert evaluate.score_run(config, workdir=str(workdir)) == pytest.approx(scores)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"distill.teacher": "nowhere"}, "distill.teacher=nowhere: is no run"),
        ({"model.head": "crf", "distill.hidden": "0"}, "model gives transitions beside logits"),
        ({"init.layers": "7"}, "init.layers=\\(7,\\): expected one or more of 0 to"),
        ({"init.checkpoint": "none", "init.layers": "none"}, "tokenizer.json.* differ from this"),
    ],
)  # fmt: skip
def test_what_cannot_be_taught_is_told(teach, more, problem):
    with pytest.raises(UserError, match=problem):
        build(teach.config(**more))


def test_other_tags_are_told(teach):
    text = (teach.folder / "train.conll").read_text().replace("B-LOC", "B-CITY")
    (teach.folder / "other.conll").write_text(text)
    more = {"data.train": str(teach.folder / "other.conll"), "data.dev": "none"}
    with pytest.raises(UserError, match=r"its tags.txt differ from this run's.*same tokenizer and"):
        build(teach.config(**more))


def test_heads_of_other_widths_are_told():
    hidden = [{"given to the head": jax.ShapeDtypeStruct((1, 8, n), np.float32)} for n in (16, 32)]
    with pytest.raises(UserError, match="given 16 features here and 32 in the teacher"):
        distillation._check_hidden(*hidden)
