"""What leaves the program is the model that was trained, in each form; what is not the same, or
cannot be written, leaves nothing behind."""

import functools
import hashlib
import json
import shutil
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
from conftest import GOLDEN, ROOT
from safetensors.numpy import load_file, save_file
from tiny_runs import config_in, one_device, train_in

from bigjax.config import values as configs
from bigjax.engine import settings, sharding
from bigjax.engine.scorer import build_scorer
from bigjax.errors import UserError
from bigjax.export import folder, verify
from bigjax.inference import opening
from bigjax.models import cnn, huggingface, huggingface_resnet
from bigjax.modes import export, train
from bigjax.modes.export import Asked
from bigjax.tasks import encoder_exports
from bigjax.tasks.portable import Samples

FAMILIES = ("tiny_bert", "tiny_roberta", "tiny_distilbert", "tiny_electra", "tiny_electra_small")
WORDS = {"Anna": "B-PER", "Paris": "B-LOC", "met": "O", "in": "O", "Bob": "B-PER", "Rome": "B-LOC"}


def write_conll(path, *, num_sentences: int) -> str:
    lines = []
    for i in range(num_sentences):
        words = [list(WORDS)[(i * k + k) % len(WORDS)] for k in range(1, 2 + i % 9)]
        lines += [f"{word} {WORDS[word]}" for word in words] + [""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def alone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        yield


@pytest.fixture(scope="module")
def tagger(tmp_path_factory, tiny_bert):
    """The folder of a run over files with a CRF, its layers scanned and its table of words in 16
    bits."""
    place = tmp_path_factory.mktemp("tagger")
    overrides = {
        "num_epochs": "none",
        "eval.every_epochs": "none",
        "optim.learning_rate": "0.02",
        "num_steps": "6",
        "eval.every_steps": "6",
        "text.row_length": "24",
        "model.scan_layers": "true",
        "model.head": "crf",
        "optim.param_dtype_rules": "(('.*word/.*', 'bfloat16'), ('.*', 'float32'))",
        "init.checkpoint": tiny_bert,
        "data.train": write_conll(place / "train.conll", num_sentences=40),
        "data.dev": write_conll(place / "dev.conll", num_sentences=50),
    }
    file = f"{ROOT}/configs/bert_ner.py:files"
    config = configs.load(file, overrides=overrides, schema=settings.schema)
    train.train(config, workdir=str(place / "run"))
    return place / "run"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("classifier") / "run"
    train_in(workdir, {"num_steps": "2"})
    assert config_in(workdir.parent).exists()
    return workdir


def run(workdir, output, format, **asked):
    return export.export(str(workdir), asked=Asked(str(output), format, **asked), overrides={})


def record_of(output) -> dict:
    return json.loads((output / "export.json").read_text(encoding="utf-8"))


# --- the same model ---


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_of_each_family_go_in_and_out_unchanged(name, tmp_path):
    source = GOLDEN / name
    sizes, model_type = huggingface.read_sizes(source), huggingface.read_model_type(source)
    params = huggingface.read_params(source, sizes=sizes)
    arrays = huggingface.arrays_of(params, model_type=model_type)
    originals = load_file(source / "model.safetensors")
    prefix = huggingface.FAMILIES[model_type].prefix
    for theirs, array in arrays.items():
        original = originals.get(theirs, originals.get(theirs.removeprefix(prefix)))
        assert array.dtype == np.float32 and np.array_equal(array, original), theirs
    save_file(arrays, tmp_path / "model.safetensors")
    config = huggingface.config_of(sizes, model_type=model_type)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert huggingface.read_sizes(tmp_path) == sizes
    again = huggingface.read_params(tmp_path, sizes=sizes)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, params))


def test_a_tagger_as_stablehlo_is_run_by_its_own_example_and_is_the_same(
    tagger, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(encoder_exports, "BUCKETS", {"batch": (1,), "length": ()})
    output = run(tagger, tmp_path / "out", "stablehlo", license="mit")
    record = record_of(output)
    proof = record["proof"]
    assert proof["verified"] and proof["examples"] == proof["equal_answers"] == 50
    assert proof["equal_answers_of_example_py"] == proof["asked_of_example_py"] > 30
    assert proof["largest_difference"] <= proof["allowed_difference"]
    assert max(proof["largest_difference_of_fixed_sizes"].values()) <= proof["allowed_difference"]
    assert "verified: 50 sentences of dev in its own runtime (jax " in capsys.readouterr().out
    found = {p.relative_to(output).as_posix(): p for p in output.rglob("*") if p.is_file()}
    assert found.keys() == {*record["files"], "export.json"}
    for name, facts in record["files"].items():
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == facts["sha256"], name
    card = found["README.md"].read_text()
    for part in (
        'license: "mit"',
        "| dev | Entity F1 |",
        "| model.scan_layers | `True`",
    ):
        assert part in card, part
    shutil.rmtree(output)


def test_one_sentence_a_row_has_the_score_that_the_run_had_of_packed_rows(tagger):
    opened = opening.open_trained(str(tagger), overrides={})
    scorer = build_scorer(opened.config, folder=str(tagger), splits=("dev",))
    portable = scorer.task.use.portable()
    params = portable.params(opening.variables_of(scorer, opened)[0])
    samples = portable.samples(params, "dev", None)
    logits = verify.reference(portable, params=params, batches=samples.batches)
    scores = json.loads((tagger / "results.json").read_text())["scores"]
    assert samples.score(logits) == scores["dev/entity_f1"] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("format", ["stablehlo", "onnx"])
def test_a_classifier_of_images_is_the_same(classifier, tmp_path, format):
    if format == "onnx":
        pytest.importorskip("jax2onnx", reason="needs pip install --no-deps --group onnx")
    proof = record_of(run(classifier, tmp_path / "out", format))["proof"]
    assert proof["verified"] and proof["examples"] == proof["equal_answers"] == 64


@pytest.mark.slow
def test_a_tagger_as_onnx_is_the_same_and_8_bits_are_measured(tagger, tmp_path, monkeypatch):
    pytest.importorskip("jax2onnx", reason="needs pip install --no-deps --group onnx")
    output = run(tagger, tmp_path / "out", "onnx", quantize="int8", max_loss=100.0)
    proof = record_of(output)["proof"]
    assert proof["verified"] and proof["equal_answers"] == 50
    assert proof["int8"]["lost_points"] == 100 * (proof["int8"]["before"] - proof["int8"]["after"])
    scores = iter([0.9, 0.8])
    monkeypatch.setattr(export, "_score", lambda *_, **__: next(scores))
    with pytest.raises(UserError, match=r"costs 10.00 points, more than --max_loss=9.5"):
        run(tagger, tmp_path / "no", "onnx", quantize="int8", max_loss=9.5)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_hugging_face_folder_starts_a_run_with_the_weights_and_the_head_it_was_given(
    tagger, tmp_path
):
    """Where transformers is not installed it is written, and said to be not verified."""
    output = run(tagger, tmp_path / "out", "huggingface", python=sys.executable)
    proof = record_of(output)["proof"]
    assert not proof["verified"] and "pip install torch transformers" in proof["reason"]
    config = json.loads((output / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]
    assert list(config["id2label"].values()) == (tagger / "tags.txt").read_text().split()
    head = huggingface.read_head(output)
    assert head.labels == tuple(config["id2label"].values())
    crf = load_file(output / "crf.safetensors")
    assert {name: x.shape for name, x in crf.items()} == {
        "transitions": (len(head.labels),) * 2,
        "start": head.bias.shape,
        "end": head.bias.shape,
    }
    assert "`crf.safetensors` holds the scores" in (output / "README.md").read_text()
    shutil.rmtree(output)


REFUSED = {
    "of its own kind": (cnn.small_cnn(), r"no class for this network \(SmallCNN\); it has one for"),
    "for small images": (cnn.resnet18(), r"no class for a ResNet for small images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_transformers_has_not_is_refused_with_the_reason(case):
    network, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        huggingface_resnet.config_of(network(num_classes=2), channels=3)


@pytest.mark.parametrize("network", [cnn.resnet18, cnn.resnet50])
def test_every_array_of_a_resnet_has_a_name_of_its_own_at_transformers(network):
    module = network(stem="imagenet")(num_classes=2)
    init = functools.partial(module.init, mask_B=np.ones(1, bool), train=False)
    shapes = nn.meta.unbox(jax.eval_shape(init, jax.random.key(0), np.zeros((1, 64, 64, 3))))
    variables = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)
    found = huggingface_resnet.arrays_of(variables)
    counted = {name for name in found if name.endswith("num_batches_tracked")}
    assert len(found) - len(counted) == len(jax.tree.leaves(variables))
    assert found["resnet.embedder.embedder.convolution.weight"].shape == (64, 3, 7, 7)
    assert found["classifier.1.weight"].shape[0] == 2
    last = "resnet.encoder.stages.3.layers.1.layer.1.normalization.running_var"
    assert found[last].shape == (512,)


# --- what is not the same is refused ---


def verify_with(monkeypatch, *, logits, answers=("a",)):
    """A model whose logits are 1 and 2, and whose runtime gives these."""
    expected = [np.array([[1.0, 2.0]], np.float32)]
    monkeypatch.setattr(verify, "reference", lambda *_, **__: expected)
    found = verify.Found([np.asarray(logits, np.float32)], list(answers), {"jax": "1"})
    monkeypatch.setattr(verify, "run", lambda *_, **__: found)
    samples = Samples(
        batches=[{}],
        compared=np.concatenate,
        answers=lambda found: ["ba"[i] for i in np.concatenate(found).argmax(1)],
        given=["words"],
        score=lambda _: 0.0,
    )
    return verify.verify("", None, params=None, samples=samples, python="", files={})


def test_the_same_logits_and_answers_are_verified(monkeypatch):
    facts = verify_with(monkeypatch, logits=[[1.0, 2.00001]])
    assert facts["verified"] and 5e-6 < facts["largest_difference"] < 2e-5
    assert (facts["equal_answers"], facts["equal_answers_of_example_py"]) == (1, 1)


@pytest.mark.parametrize("value", [2.01, np.nan])
def test_another_model_is_refused(monkeypatch, value):
    with pytest.raises(UserError, match=r"another one: logits differ by (0.01|nan)"):
        verify_with(monkeypatch, logits=[[1.0, value]])


def test_an_example_that_answers_otherwise_is_refused(monkeypatch):
    with pytest.raises(UserError, match=r"answers 1 of 1 examples otherwise, .* b, expected a"):
        verify_with(monkeypatch, logits=[[1.0, 2.0]], answers=["b"])


def test_an_interpreter_that_is_not_there_is_a_runtime_that_is_missing(tmp_path):
    with pytest.raises(verify.RuntimeMissing, match="/no/python"):
        verify.run(tmp_path, [], given=[], python="/no/python")


def test_an_example_that_fails_is_an_error_with_its_last_line(tmp_path):
    (tmp_path / "example.py").write_text("raise ValueError('no such file')")
    with pytest.raises(UserError, match="does not run .*: ValueError: no such file"):
        verify.run(tmp_path, [], given=[], python=sys.executable)


# --- the folder ---


def write(place, *, fail: bool = False, name: str = "a") -> None:
    with folder.new(str(place)) as made:
        (made / name).write_text("new")
        folder.write_record(made, {}, version="1")
        if fail:
            raise ValueError


def test_a_folder_takes_its_place_only_when_it_is_whole(tmp_path):
    place = tmp_path / "deep" / "out"
    with pytest.raises(ValueError):
        write(place, fail=True)
    assert not list(place.parent.iterdir())
    write(place)
    write(place, name="b")  # over an export of ours
    assert {path.name for path in place.iterdir()} == {"b", "export.json"}
    with pytest.raises(ValueError):
        write(place, fail=True)
    assert {path.name for path in place.iterdir()} == {"b", "export.json"}
    assert [path.name for path in place.parent.iterdir()] == ["out"]


OCCUPIED = {
    "a file": (lambda place: place.write_text(""), "is there and is no folder"),
    "a folder of another": (lambda place: (place.mkdir(), (place / "x").touch()), "is no export"),
    "a link": (lambda place: place.symlink_to(place.parent), "is there and is no folder"),
    "an export to which a file was added": (
        lambda place: (write(place), (place / "notes").touch()),
        r"files that were not exported \(notes\)",
    ),
    "a record of another": (
        lambda place: (place.mkdir(), (place / "export.json").write_text("[]")),
        "is no export",
    ),
}


@pytest.mark.parametrize("case", OCCUPIED)
def test_what_is_there_and_no_export_of_ours_is_not_touched(tmp_path, case):
    occupy, message = OCCUPIED[case]
    occupy(tmp_path / "out")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        write(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


FLAGS = {
    "no format": (Asked("out", None), "needs --format: huggingface, peft, stablehlo, onnx"),
    "an unknown format": (Asked("out", "tflite"), "needs --format"),
    "no output": (Asked(None, "onnx"), "needs --output"),
    "8 bits of another": (Asked("out", "huggingface", "int8"), "goes with --format=onnx"),
    "a negative loss": (Asked("out", "onnx", "int8", -1.0), "--max_loss=-1.0"),
}


@pytest.mark.parametrize("case", FLAGS)
def test_flags_that_are_missing_or_do_not_go_together_are_an_error(case):
    asked, message = FLAGS[case]
    with pytest.raises(UserError, match=message):
        export.check(asked)
