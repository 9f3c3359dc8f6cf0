"""Runs of masked-language modelling: killed and resumed, on eight devices, and what becomes of
them: scores, predictions, a folder for transformers, and a start for tagging."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_runs
from conftest import ROOT
from jax.sharding import Mesh
from safetensors.numpy import load_file

import bigjax
from bigjax.checkpoints import restore
from bigjax.config import values as configs
from bigjax.engine import build, settings, sharding
from bigjax.errors import UserError
from bigjax.export import huggingface as huggingface_format
from bigjax.inference import opening
from bigjax.loop import starting_points
from bigjax.models import huggingface
from bigjax.modes import evaluate, train
from bigjax.tasks.masked_lm import head
from bigjax.tasks.masked_lm import task as masked_lm

MLM, NER = ROOT / "configs" / "bert_mlm.py", ROOT / "configs" / "bert_ner.py"
WORDS = ("Anna", "met", "Bob", "in", "Paris", "and", "Rome", ".")
SMALL = {
    "num_epochs": "none",
    "num_steps": str(tiny_runs.NUM_STEPS),
    "text.row_length": "24",
    "batch.rows": "6",
    "optim.learning_rate": "0.01",
    "eval.every_epochs": "none",
    "eval.every_steps": "8",
    "eval.batch_rows": "8",
    "checkpoint.every_steps": "5",
    "log.every_steps": "4",
    "log.batches": "true",
}


def written(path: Path, *, num: int, seed: int) -> str:
    """Documents of a line or two in which a word often follows from the one before."""
    rng = np.random.default_rng(seed)
    documents = []
    for _ in range(num):
        start, length = rng.integers(8), rng.integers(3, 12)
        words = [WORDS[(start + i) % 8] for i in range(length)]
        documents.append(" ".join(words[:5]) + "\n" + " ".join(words[5:]))
    path.write_text("\n\n".join(documents) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_bert) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("text")
    return {
        "init.checkpoint": tiny_bert,
        "data.train": written(folder / "train.txt", num=90, seed=0),
        "data.dev": written(folder / "dev.txt", num=30, seed=1),
    }


def load(files, overrides=()):
    given = SMALL | files | dict(overrides)
    return configs.load(f"{MLM}:files", overrides=given, schema=settings.schema)


@pytest.fixture(scope="module")
def straight(files, tmp_path_factory) -> Path:
    """The folder of a finished run."""
    workdir = tmp_path_factory.mktemp("run") / "straight"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", tiny_runs.one_device)
        scores = train.train(load(files), workdir=str(workdir))
    assert scores["dev/masked_accuracy"] > 0.4
    return workdir


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", tiny_runs.one_device)


def scores_of(workdir: Path) -> dict[str, float]:
    return json.loads((workdir / "results.json").read_text())["scores"]


@pytest.mark.usefixtures("one_device")
def test_a_killed_run_ends_as_one_that_was_not(files, straight, tmp_path, monkeypatch):
    def die():
        raise RuntimeError("killed")

    original, killed = build.Setup.train_step, tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(build.Setup, "train_step", tiny_runs.at_call(original, number=14, act=die))
        with pytest.raises(RuntimeError):
            train.train(load(files), workdir=str(killed))
    assert train.train(load(files), workdir=str(killed)) == pytest.approx(scores_of(straight))
    tiny_runs.assert_same_run(killed, straight)


@pytest.mark.usefixtures("one_device")
def test_a_run_is_scored_and_used_without_its_training_data(files, straight, tmp_path):
    gone = load(files, {"data.train": str(tmp_path / "gone.txt"), "init.checkpoint": "gone"})
    scores = scores_of(straight)
    assert evaluate.score_run(gone, workdir=str(straight)) == pytest.approx(scores)
    model = bigjax.load(str(straight))
    text = "Anna met [MASK] in Paris and Rome ."
    first, second, nothing, long = model(
        [text, {"text": text, "id": 7}, "", "Bob in " * 40 + "[MASK]"]
    )
    assert first["filled"] == "Anna met bob in Paris and Rome ." or first["masks"][0]["words"]
    (mask,) = first["masks"]
    assert text[mask["start"] : mask["end"]] == "[MASK]" and len(mask["words"]) == 5
    assert second == {"id": 7, **first} and nothing["masks"] == []
    assert long["text"][long["masks"][0]["start"] :] == "[MASK]"
    assert model(text) == model({"tokens": text.split()}) == first
    with pytest.raises(UserError, match="input 1: expected 'text' in the record, found 'x'"):
        model({"x": text})


SCRATCH = {
    "init.checkpoint": "none", "text.vocab_size": "32", "model.num_layers": "1",
    "model.hidden_size": "16", "model.num_heads": "2", "model.mlp_size": "24",
    "model.dropout": "0.2", "batch.rows": "7",
}  # fmt: skip


def batches(files, spec: str, num_parts: int):
    """Losses of some updates on a mesh, a batch as it lies there, and the compiled update."""
    with pytest.MonkeyPatch.context() as patch:
        if spec == "one device":
            one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), sharding.AXES)
            patch.setattr(sharding, "make_mesh", lambda spec: one)  # noqa: ARG005
        given = SCRATCH | {"mesh": spec, "batch.accumulate": str(num_parts)}
        setup = build.build(load(files, given))
        state, _ = starting_points.new_state(setup)
        losses = []
        for step in range(5):
            state, scalars = setup.train_step(state, setup.put(range(step, step + 1)))
            losses.append(float(scalars["loss"]))
        return losses, jax.device_get(setup.put(range(2, 3))), setup.compiled.as_text()


def test_eight_devices_hide_the_same_and_train_as_one_does(files):
    """Of rows that the devices do not divide, in four parts; each has logits of half the
    vocabulary, at slots alone."""
    expected, batch, text = batches(files, "one device", 1)
    assert "f32[7,4,32]" in text and "f32[7,24,32]" not in text
    losses, found, text = batches(files, "data=2,fsdp=2,tensor=2", 4)
    assert "f32[1,4,16]" in text and "f32[1,4,32]" not in text
    for name, array in batch.items():
        assert np.array_equal(found[name][:7], array[:7]), name
        assert name == "row" or not found[name][7:].any(), name
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.usefixtures("one_device")
def test_a_run_leaves_as_transformers_has_it_and_comes_back(straight, tmp_path):
    task = masked_lm.load(
        opening.open_trained(str(straight), overrides={}).config, str(straight), splits=()
    )
    params, _, _ = restore.read_params(str(straight))
    portable = task.use.portable()
    huggingface_format.write(tmp_path, portable, portable.params({"params": params}))
    sizes = huggingface.read_sizes(str(tmp_path))
    own = head.read(str(tmp_path), sizes=sizes, family="bert")
    assert jax.tree.all(jax.tree.map(np.array_equal, own, dict(params["head"])))
    arrays = load_file(tmp_path / "model.safetensors")
    table = arrays["bert.embeddings.word_embeddings.weight"]
    assert np.array_equal(table, params["encoder"]["word"]["embedding"])
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"] and config["tie_word_embeddings"]
    again = bigjax.load(str(tmp_path))("Anna met [MASK] .")
    assert again == bigjax.load(str(straight))("Anna met [MASK] .")


@pytest.mark.usefixtures("one_device")
def test_tagging_starts_from_what_was_learnt(straight, tmp_path, capsys):
    lines = "".join(f"{word} O\n" for word in WORDS) + "\n"
    (tmp_path / "train.conll").write_text(lines * 4 + "Anna B-PER\n\n")
    overrides = {
        "num_epochs": "none", "num_steps": "1", "eval.every_epochs": "none",
        "text.row_length": "24", "init.checkpoint": str(straight),
        "data.train": str(tmp_path / "train.conll"), "data.dev_fraction": "0",
    }  # fmt: skip
    setup = build.build(configs.load(f"{NER}:files", overrides=overrides, schema=settings.schema))
    state, source = starting_points.new_state(setup)
    params, _, _ = restore.read_params(str(straight))
    encoder = jax.device_get(state.params["encoder"])
    assert jax.tree.all(jax.tree.map(np.array_equal, encoder, dict(params["encoder"])))
    assert "(step " in source and "its head is not taken" in capsys.readouterr().out
