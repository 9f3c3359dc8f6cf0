"""Token tagging with a CRF: what its batches hold, that its loss is a property of the split and the
parameters alone, that it trains, goes on bitwise, is scored again, and gives its head on."""

import itertools
import json
import shutil

import flax.linen as nn
import jax
import numpy as np
import pytest
from conftest import ROOT
from test_token_tagging import SIZES, TOLERANCE, make, scores_of
from tiny_runs import one_device

from bigjax.checkpoints.save import Checkpoints
from bigjax.config import values as configs
from bigjax.data.pipeline import global_batch
from bigjax.engine import build, settings, sharding
from bigjax.engine.state import TrainState
from bigjax.engine.step import mean_gradients
from bigjax.errors import UserError
from bigjax.modes import run, train
from bigjax.tasks import encoders
from bigjax.tasks.token_tagging import decoding
from bigjax.tasks.token_tagging import task as token_tagging


@pytest.fixture(scope="module")
def task():
    return make(model__head="crf")


@pytest.fixture(scope="module")
def variables(task):
    """Random parameters that are large enough to matter."""
    found = jax.jit(lambda key: nn.meta.unbox(task.model.init(key)))(jax.random.key(0))
    head, rng = found["params"]["head"], np.random.default_rng(0)
    head = {name: 50 * leaf for name, leaf in head.items()}
    head |= {
        name: rng.normal(size=head[name].shape).astype(np.float32)
        for name in ("transitions", "start", "end")
    }
    return {"params": found["params"] | {"head": head}}


def outputs_of(task, variables, batch):
    return jax.jit(lambda v, b: task.model.apply(v, b, None)[0])(variables, batch)


# --- batches and losses ---------------------------------------------------------------------------


def test_each_word_comes_with_the_tags_of_its_neighbours_in_the_sentence(task):
    """Whichever windows hold them: here most sentences are several."""
    dev, names = task.data.evals["dev"], task.use.files["tags.txt"].split()
    rows = dev.rows(np.arange(dev.num_rows))
    found = sorted(
        (int(before), int(label), int(after))
        for before, label, after in zip(
            *(rows[name][rows["mask"]] for name in ("before", "labels", "after"))
        )
    )
    config = configs.load(
        f"{ROOT}/configs/bert_ner.py:scratch", overrides=SIZES, schema=settings.schema
    )
    sentences = config.of(token_tagging.SOURCE)["dev"].tags
    expected = []
    for tags in sentences:
        numbers = [0, *(names.index(tag) + 1 for tag in tags), 0]
        expected += [
            (before, label - 1, after)
            for before, label, after in zip(numbers, numbers[1:], numbers[2:])
        ]
    assert found == sorted(expected)
    assert not rows["before"][~rows["mask"]].any() and not rows["after"][~rows["mask"]].any()
    assert "before" not in make().data.train.rows(np.arange(1))


def test_the_loss_of_a_split_is_of_windows_given_their_neighbours(task, variables):
    """Computed anew, window by window, as sentences whose edges score as the neighbours do."""
    dev, names = task.data.evals["dev"], task.use.files["tags.txt"].split()
    rows = dev.rows(np.arange(dev.num_rows))
    outputs = jax.device_get(outputs_of(task, variables, rows))
    assert (outputs["transitions"] == outputs["transitions"][0]).all()
    scores_ST = np.where(decoding.allowed(names), outputs["transitions"][0].astype(float), -1e4)
    total, num_held = 0.0, 0
    for b, segments in enumerate(rows["segments"]):
        for number in range(1, segments.max() + 1):
            (places,) = np.nonzero((segments == number) & rows["mask"][b])
            if len(places):
                before, after = rows["before"][b, places[0]], rows["after"][b, places[-1]]
                start_T = scores_ST[before - 1] if before else scores_ST[-2]
                end_T = scores_ST[:-2, after - 1] if after else scores_ST[-1]
                edges = {"between_TT": scores_ST[:-2], "start_T": start_T, "end_T": end_T}
                total += nll(outputs["logits"][b, places], rows["labels"][b, places], **edges)
                num_held += bool(before) + bool(after)
    assert num_held > 20
    scored = scores_of(task, variables, num_devices=1, batch_rows=32).scalars
    assert scored["loss"] == pytest.approx(total / rows["mask"].sum(), rel=TOLERANCE)


def nll(logits_NT, gold, *, between_TT, start_T, end_T):
    """-log p by the forward recursion, in float64."""
    logits_NT = logits_NT.astype(float)
    forward_T, weight = start_T + logits_NT[0], start_T[gold[0]] + logits_NT[0, gold[0]]
    for one_T, (tag, following) in zip(logits_NT[1:], itertools.pairwise(gold)):
        forward_T = np.logaddexp.reduce(forward_T[:, None] + between_TT, axis=0) + one_T
        weight += between_TT[tag, following] + one_T[following]
    return np.logaddexp.reduce(forward_T + end_T) - weight - end_T[gold[-1]]


@pytest.mark.parametrize(("num_devices", "batch_rows"), [(1, 3), (8, 3)])
def test_scores_depend_neither_on_the_batch_nor_on_the_devices(
    task, variables, num_devices, batch_rows
):
    expected = scores_of(task, variables, num_devices=1, batch_rows=32).scalars
    found = scores_of(task, variables, num_devices=num_devices, batch_rows=batch_rows).scalars
    assert found == pytest.approx(expected, rel=TOLERANCE)
    assert 0 < expected["accuracy"] < 1 and expected["entity_f1"] == expected["conlleval_f1"]


def test_the_gradient_does_not_depend_on_the_parts_it_is_computed_in(task, variables):
    batch = global_batch(task.data.train, step=0, rows=np.arange(8))
    state = TrainState(np.zeros((), np.int32), variables["params"], {}, (), None)
    whole, parts = (
        jax.jit(
            lambda state, batch, n=n: mean_gradients(
                task.model, state, batch, key=jax.random.key(0), num_microbatches=n
            )[0]
        )(state, batch)
        for n in (1, 2)
    )
    assert np.abs(whole["head"]["transitions"]).max() > 1e-3
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE)


@pytest.mark.parametrize("given", [("label_smoothing", "0.1"), ("class_weights", "balanced")])
def test_what_is_of_single_words_is_refused(given):
    name, value = given
    with pytest.raises(UserError, match=rf"loss\.{name}={value} goes with model.head='linear'"):
        make(model__head="crf", **{f"loss__{name}": value})


def test_what_is_predicted_is_legal_or_the_best_of_each_word(variables):
    """Two ways to decode the same outputs, of either head."""
    for head in ("linear", "crf"):
        scored = {
            kind: scores_of(
                make(model__head=head, decode__kind=kind), variables, num_devices=1, batch_rows=32
            ).scalars
            for kind in ("viterbi", "argmax")
        }
        viterbi, argmax = scored["viterbi"], scored["argmax"]
        assert viterbi["loss"] == argmax["loss"]
        assert viterbi["entity_f1"] == viterbi["conlleval_f1"]
        assert viterbi != argmax and argmax["entity_f1"] != argmax["conlleval_f1"]


# --- runs -----------------------------------------------------------------------------------------

RUN = SIZES | {
    "model.head": "crf",
    "num_epochs": "none",
    "num_steps": "6",
    "batch.examples": "none",
    "batch.rows": "8",
    "eval.every_epochs": "none",
    "eval.every_steps": "3",
    "checkpoint.every_steps": "2",
    "optim.learning_rate": "0.02",
}


@pytest.mark.usefixtures("shared_builds")
def test_a_run_goes_on_bitwise_and_is_scored_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sharding, "make_mesh", one_device)
    file = f"{ROOT}/configs/bert_ner.py:scratch"
    config = configs.load(file, overrides=RUN, schema=settings.schema)
    scores = train.train(config, workdir=str(tmp_path / "straight"))
    shutil.copytree(tmp_path / "straight", tmp_path / "stopped")
    for step in (4, 6):  # as if it had ended after step 3
        shutil.rmtree(tmp_path / "stopped" / "checkpoints" / str(step), ignore_errors=True)
    assert train.train(config, workdir=str(tmp_path / "stopped")) == scores
    assert "resuming at step" in capsys.readouterr().out
    like, states = build.build(config).state, []
    for name in ("straight", "stopped"):
        checkpoints = Checkpoints(str(tmp_path / name), keep_latest=1, keep_best=1)
        states.append(checkpoints.restore(6, like=like)[0])
        checkpoints.close()
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert np.abs(states[0].params["head"]["transitions"]).max() > 0.01
    run.run(run.Flags("evaluate", workdir=str(tmp_path / "straight")))
    kept = json.loads((tmp_path / "straight" / "results.json").read_text())["scores"]
    assert kept == pytest.approx(scores)


# --- the head of another run ----------------------------------------------------------------------


def test_a_head_goes_to_tags_in_another_order(tmp_path):
    ours, theirs = ["O", "B-A", "I-A"], ["I-A", "O", "B-A"]
    (tmp_path / "tags.txt").write_text("\n".join(theirs) + "\n")
    at = np.arange(3)
    head = {"kernel": 10 * np.ones((2, 1)) * at, "bias": at, "start": at, "end": 2 * at}
    head["transitions"] = 10 * at[:, None] + at
    adopt = token_tagging._adopt
    encoder = encoders.Encoder(tokenizer=None, sizes=None, family="bert")
    given = {"tags": ours, "scan_layers": False, "encoder": encoder}
    params = {"encoder": {}, "head": head}
    found = adopt(params, str(tmp_path), **given)[0]["head"]
    order = [theirs.index(tag) for tag in ours]
    assert found["start"].tolist() == order and found["bias"].tolist() == order
    assert found["transitions"].tolist() == [[10 * a + b for b in order] for a in order]
    linear = {name: head[name] for name in ("kernel", "bias")}
    found, note = adopt({"encoder": {}, "head": linear}, str(tmp_path), **given)
    assert set(found["head"]) == {"kernel", "bias"} and note == ""
    (tmp_path / "tags.txt").write_text("O\nB-A\nI-B\n")
    found, note = adopt(params, str(tmp_path), **given)
    assert "head" not in found and "not taken" in note
    (tmp_path / "tags.txt").unlink()  # a run of another task on text
    found, note = adopt(params | {"pooler": {}}, str(tmp_path), **given)
    assert set(found) == {"encoder"} and note == "its head is not taken, it is of another task"
