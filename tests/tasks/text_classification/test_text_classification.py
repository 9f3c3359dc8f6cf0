"""Text classification: losses and scores against slow references, that rows may share and texts be
parted, and what a run or another's folder gives it."""

import functools
import json
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from conftest import GOLDEN, ROOT
from safetensors.numpy import load_file, save_file
from scipy.special import softmax as scipy_softmax
from tiny_runs import one_device

from bigjax.config import values as configs
from bigjax.data.text import packing, tokenization
from bigjax.data.text.sentences import with_classes
from bigjax.engine import build, settings, sharding, step
from bigjax.engine.state import TrainState
from bigjax.errors import UserError
from bigjax.inference import attribution, predictor
from bigjax.loop import starting_points
from bigjax.models import huggingface_heads
from bigjax.modes import evaluate, train
from bigjax.tasks import encoders
from bigjax.tasks.text_classification import multi, rows, scoring
from bigjax.tasks.text_classification import task as classification
from bigjax.tasks.token_tagging import task as token_tagging

TOLERANCE = 1e-5
SIZES = {
    "text.vocab_size": "400", "text.row_length": "64", "model.num_layers": "1",
    "model.hidden_size": "16", "model.num_heads": "2", "model.mlp_size": "32",
    "model.dropout": "0", "model.attention_dropout": "0", "batch.examples": "none",
    "batch.rows": "8", "data.num_train": "30", "data.num_dev": "20", "data.num_test": "10",
}  # fmt: skip
# Of words that the tiny model of `golden/` knows.
TOPICS = {"sport": "play", "crime": "Neil", "art": "Berlin"}


def load(variant="scratch", **overrides):
    given = SIZES if variant == "scratch" else {}
    given = given | {key.replace("__", "."): value for key, value in overrides.items()}
    file = f"{ROOT}/configs/bert_classify.py:{variant}"
    return configs.load(file, overrides=given, schema=settings.schema)


@functools.cache
def make(**overrides):
    return classification.make(load(**overrides))


@functools.cache
def variables_of(**overrides):
    """Random parameters that are large enough to matter."""
    found = jax.jit(lambda key: nn.meta.unbox(make(**overrides).model.init(key)))(jax.random.key(0))
    rng = np.random.default_rng(0)
    grow = lambda x: 4 * x + rng.normal(scale=0.2, size=x.shape).astype(np.float32)  # noqa: E731
    return {"params": jax.tree.map(grow, found["params"])}


def every_row(dataset):
    numbers = np.arange(dataset.num_rows)
    return dataset.rows(numbers) | {"row": numbers.astype(np.int32)}


def write_csv(path, *, num, multi=False, long=False):
    lines = ["text,label"]
    for i in range(num):
        name = list(TOPICS)[i % 3]
        text = " ".join([TOPICS[name], "near"][: 1 + i % 2] * (40 if long else 1))
        lines.append(f"{text},{name}{'|art' * (multi and i % 2 and name != 'art')}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


# --- the loss ---


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_loss_and_logits_are_those_of_each_window_alone(pooling):
    """Weighed by its share of the text; padding counts nowhere."""
    task, variables = make(model__pooling=pooling), variables_of(model__pooling=pooling)
    batch = every_row(task.data.train)
    assert batch["segments"].max() > 1 and (batch["weight"][batch["mask"]] < 1).any()
    apply = jax.jit(lambda batch: task.model.apply(variables, batch, None)[0]["logits"])
    packed = np.asarray(apply(batch))
    total = 0.0
    for b, s in zip(*np.nonzero(batch["mask"])):
        (places,) = np.nonzero(batch["segments"][b] == s + 1)
        tokens = np.pad(batch["tokens"][b, places], (0, 64 - len(places)))[None]
        own = (np.arange(64) < len(places)).astype(np.int32)[None]
        positions = np.arange(64, dtype=np.int32)[None] * own
        alone = {"tokens": tokens, "segments": own, "positions": positions}
        logits = np.asarray(apply(alone | {"mask": np.ones((1, 1), bool)}))[0, 0]
        np.testing.assert_allclose(packed[b, s], logits, rtol=TOLERANCE, atol=TOLERANCE)
        log_probs = logits - np.log(np.exp(logits.astype(np.float64)).sum())
        total -= batch["weight"][b, s] * log_probs[batch["label"][b, s]]
    sums = task.model.train_sums({"logits": jnp.asarray(packed)}, batch)
    np.testing.assert_allclose(sums["loss"].count, 30, rtol=TOLERANCE)  # every text once
    np.testing.assert_allclose(sums["loss"].compute(), total / 30, rtol=TOLERANCE)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_gradients_do_not_depend_on_the_parts_they_are_computed_in(kind):
    given = {"loss__kind": kind, "loss__class_weights": "balanced", "loss__label_smoothing": "0.1"}
    task, variables = make(**given), variables_of(**given)
    batch = task.data.train.rows(np.arange(8)) | {"row": np.arange(8, dtype=np.int32)}
    state = TrainState(jnp.zeros((), jnp.int32), variables["params"], {}, (), None)

    def of(parts):
        gradients = functools.partial(
            step.mean_gradients, task.model, key=jax.random.key(1), num_microbatches=parts
        )
        grads, sums, _ = jax.jit(lambda state, batch: gradients(state, batch=batch))(state, batch)
        return grads, sums["loss"].compute()

    (one, loss), (four, loss_of_parts) = of(1), of(4)
    np.testing.assert_allclose(loss, loss_of_parts, rtol=TOLERANCE)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=TOLERANCE)
    jax.tree.map(close, one, four)


def test_the_loss_of_several_classes_is_of_each_by_itself():
    task = make(loss__kind="multi", loss__class_weights="(1,2,3,4,5,6,7)")
    batch = every_row(task.data.train)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(*batch["mask"].shape, 7)).astype(np.float32)
    logits[~batch["mask"]] = np.nan
    p, y = 1 / (1 + np.exp(-logits.astype(np.float64))), batch["label"]
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    weights = batch["weight"][..., None] * np.arange(1, 8)
    expected = (losses * weights)[batch["mask"]].sum() / weights[batch["mask"]].sum()
    found = task.model.train_sums({"logits": jnp.asarray(logits)}, batch)["loss"].compute()
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


# --- windows and scores ---


def test_logits_of_a_long_text_are_the_mean_of_its_windows_by_what_each_owns(tmp_path):
    path = write_csv(tmp_path / "a.csv", num=6, long=True)
    config = load("files", init__checkpoint=str(GOLDEN / "tiny_bert"), text__row_length="24",
                  data__train=path, data__dev=path)  # fmt: skip
    task = classification.make(config)
    names, given = ("art", "crime", "sport"), config.of(classification.CLASS_SOURCE)["dev"]
    tokenizer = encoders.load(str(GOLDEN / "tiny_bert")).tokenizer
    split = rows.encode_split(given, names=names, multi=False, tokenizer=tokenizer, row_length=24)
    windows = split.windows
    assert (np.bincount(windows.sentences) > 1).all()
    sizes = [sum(map(len, tokenization.encode_words(words, tokenizer=tokenizer)))
             for words in given.words]  # fmt: skip
    owned = windows.owned[:, 1] - windows.owned[:, 0]
    assert np.bincount(windows.sentences, weights=owned).tolist() == sizes  # each once
    dev, rng = task.data.evals["dev"], np.random.default_rng(0)
    logits = rng.normal(size=(dev.num_rows, split.most, 3)).astype(np.float32)
    found = rows.by_text(split, {"logits": logits})
    expected = np.zeros((6, 3))
    for row, ids in enumerate(packing.once(split.packing)(np.arange(dev.num_rows))):
        for slot, window in enumerate(ids):
            expected[windows.sentences[window]] += split.share[window] * logits[row, slot]
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    np.testing.assert_allclose(np.bincount(windows.sentences, weights=split.share), 1)


def split_of(classes, *, is_multi):
    """Of texts of one word, in order, a row each."""
    texts = [([f"w{i}"], ["abcd"[c] for c in of]) for i, of in enumerate(classes)]
    given = {"names": "abcd", "multi": is_multi, "row_length": 16}
    given["tokenizer"] = encoders.load(str(GOLDEN / "tiny_bert")).tokenizer
    split = rows.encode_split(with_classes(texts, where="here"), **given)
    plan = encoders.one_a_row(split.windows.lengths, row_length=16)
    order = np.argsort(split.windows.lengths, kind="stable")
    return split._replace(packing=plan._replace(place=np.argsort(order)))


def value_of(parts):
    times = np.bincount(parts.kind, minlength=len(parts.num))
    return np.mean((times @ parts.num) / (times @ parts.den))


def test_scores_of_single_classes_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    gold, logits = rng.integers(4, size=60), rng.normal(size=(60, 1, 4)).astype(np.float32)
    split = split_of(gold[:, None], is_multi=False)
    found = scoring.score(split, {"logits": logits}, names="abcd")
    predicted = logits[:, 0].argmax(1)
    expected = {
        "accuracy": np.mean(gold == predicted),
        "macro_f1": sklearn.metrics.f1_score(gold, predicted, average="macro"),
    }
    for name, value in expected.items():
        assert found.scalars[name] == pytest.approx(value, abs=1e-12), name
        assert value_of(found.parts[name]) == pytest.approx(value, abs=1e-12), name
    wrong = found.wrong()
    assert [item["example"] for item in wrong] == np.flatnonzero(gold != predicted).tolist()
    assert wrong[0]["gold"] == [[0, 1, "abcd"[gold[wrong[0]["example"]]]]]
    most_sure = found.sections[-1]["items"][0]["caption"]
    sure = scipy_softmax(logits[:, 0], axis=1).max(1)[gold != predicted].max()
    assert most_sure.endswith(f"confidence {sure:.3f}")
    logits[0] = np.inf
    not_scored = scoring.score(split, {"logits": logits}, names="abcd")
    assert np.isnan(not_scored.scalars["accuracy"])


def test_scores_of_several_classes_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    gold, logits = rng.random((50, 4)) < 0.4, rng.normal(size=(50, 4)).astype(np.float32)
    split = split_of([np.flatnonzero(of) for of in gold], is_multi=True)
    found = multi.score(split, {"logits": logits[:, None]}, names="abcd", threshold=0.6)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    f1 = functools.partial(sklearn.metrics.f1_score, gold, p >= 0.6)
    expected = {
        "micro_f1": f1(average="micro"),
        "macro_f1": f1(average="macro"),
        "exact_match": sklearn.metrics.accuracy_score(gold, p >= 0.6),
        "roc_auc": sklearn.metrics.roc_auc_score(gold, p),
        "average_precision": sklearn.metrics.average_precision_score(gold, p),
    }
    for name, value in expected.items():
        assert found.scalars[name] == pytest.approx(value, abs=1e-12), name
    for name, parts in found.parts.items():
        assert value_of(parts) == pytest.approx(expected[name], abs=1e-12), name


# --- runs ---


def config_of(folder):
    record = json.loads((folder / "config.json").read_text())
    return configs.from_record(record, path="", overrides={}, schema=settings.schema)


@pytest.fixture(scope="module", params=["single", "multi"])
def run(request, tmp_path_factory):
    """A finished run from another's weights, its files and its scores."""
    folder, kind = tmp_path_factory.mktemp(request.param), request.param
    given = {"num": 30, "multi": kind == "multi"}
    config = load(
        "files", init__checkpoint=str(GOLDEN / "tiny_bert"), text__row_length="24",
        data__train=write_csv(folder / "train.csv", **given), num_epochs="none", num_steps="60",
        data__dev=write_csv(folder / "dev.csv", **given), eval__every_epochs="none",
        eval__every_steps="30", optim__learning_rate="0.03", loss__kind=kind,
        data__label_separator="|" if kind == "multi" else "none", model__pooling="cls",
        augment__word_dropout="0.1",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        scores = train.train(config, workdir=str(folder / "run"))
        yield folder / "run", kind, scores


def test_a_run_learns_is_scored_again_and_predicts_what_was_scored(run):
    folder, kind, scores = run
    first = {"single": "dev/accuracy", "multi": "dev/micro_f1"}[kind]
    assert scores[first] > 0.9
    assert evaluate.score_run(config_of(folder), workdir=str(folder))[first] == scores[first]
    loaded = predictor.load(str(folder), overrides={})
    texts = ["play near", "Berlin", {"text": "Neil " * 40, "id": 7}]
    answers = loaded(texts)
    said = [[one["class"] for one in answer.get("classes", [answer])] for answer in answers]
    both = {"single": {"sport"}, "multi": {"sport", "art"}}[kind]  # as texts with "near" are
    assert [*map(set, said)] == [both, {"art"}, {"crime"}]
    assert answers[2]["id"] == 7 and all(answer["text"] for answer in answers)
    assert loaded("play near") == answers[0]
    use = loaded.task.use
    prepared = [use.prepare(text) for text in texts]
    seen = use.observe(prepared, answers)
    assert seen.lengths == [2, 1, 40] and sum(seen.labels.values()) == 2 + len(both)
    for name in ("terminal", "csv"):
        assert "sport" in use.formats[name].line(prepared[0], answers[0])


def test_why_a_text_is_of_its_class_sums_to_what_the_model_said(run):
    folder, _, _ = run
    loaded = predictor.load(str(folder), overrides={})
    one = loaded.task.use.prepare("Neil " + "near " * 30)
    (found,) = attribution.explanations(loaded, one, loaded([one.text])[0])
    pieces = found.shown["pieces"]
    assert "".join(text for text, *_ in pieces) == "Neil" + " near" * 30
    total = sum(value for _, value, _ in pieces if value is not None)
    assert total == pytest.approx(found.why.parts.sum())  # nothing is of no word
    assert total == pytest.approx(found.why.score - found.why.baseline + found.why.error)


def test_the_folder_for_transformers_is_a_run_of_the_same_answers(run, tmp_path):
    folder, kind, scores = run
    loaded = predictor.load(str(folder), overrides={})
    (member,) = loaded.members
    made = loaded.task.use.portable()
    params = made.params(jax.device_get(member.variables))
    found = made.huggingface(params)
    save_file(dict(found.arrays), tmp_path / "model.safetensors")
    for name, content in {"config.json": json.dumps(found.config), **found.files}.items():
        (tmp_path / name).write_text(content)
    given = {"data.dev": str(folder.parent / "dev.csv"), "eval.final": "latest"}
    if kind == "multi":
        given["data.label_separator"] = "|"
    again = predictor.load(str(tmp_path), overrides={**given, "text.row_length": "24"})
    assert again.task.use.files["classes.txt"] == loaded.task.use.files["classes.txt"]
    texts = ["play near", "Berlin Neil", "Neil " * 40]
    said = [
        [[one["class"] for one in a.get("classes", [a])] for a in model(texts)]
        for model in (loaded, again)
    ]
    assert said[0] == said[1]
    first = {"single": "dev/accuracy", "multi": "dev/micro_f1"}[kind]
    of_dev = classification.load(config_of(folder), str(folder), splits=("dev",)).use.portable()
    samples = of_dev.samples(params, "dev", None)
    logits = [np.asarray(jax.jit(of_dev.apply)(params, batch)) for batch in samples.batches]
    assert samples.score(logits) == pytest.approx(scores[first])
    assert all(given is not None for given in samples.given)


def test_a_run_of_one_task_on_text_is_a_start_for_another(run, tmp_path):
    folder, kind, _ = run
    (tmp_path / "a.conll").write_text("play B-X\nnear O\n\n" * 3)
    file = f"{ROOT}/configs/bert_ner.py:files"
    given = {"init.checkpoint": str(folder), "data.train": str(tmp_path / "a.conll"),
             "data.dev": str(tmp_path / "a.conll"), "text.row_length": "24"}  # fmt: skip
    tagger = token_tagging.make(configs.load(file, overrides=given, schema=settings.schema))
    params = {"encoder": {"word": 1}, "pooler": 2, "head": 3}
    assert tagger.model.adopt(params, str(folder))[0] == {"encoder": {"word": 1}}
    again = load(
        "files", init__checkpoint=str(folder), data__train=str(folder.parent / "train.csv"),
        text__row_length="24", loss__kind=kind,
        data__label_separator="|" if kind == "multi" else "none",
    )  # fmt: skip
    head = {"kernel": np.eye(3), "bias": np.arange(3)}
    found, note = classification.make(again).model.adopt({**params, "head": head}, str(folder))
    assert note == "" and np.array_equal(found["head"]["kernel"], head["kernel"])


def test_what_transformers_has_no_class_for_is_refused_with_the_reason():
    task = make(model__pooling="mean")
    with pytest.raises(UserError, match="pooling='mean' has no class in transformers"):
        task.use.portable().huggingface({})


@pytest.mark.parametrize("name", ["tiny_roberta", "tiny_distilbert", "tiny_electra"])
def test_heads_of_each_family_go_out_and_in_unchanged(name, tmp_path):
    shutil.copytree(GOLDEN / name, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    family, size = config["model_type"], encoders.load(str(tmp_path)).sizes.hidden_size
    rng = np.random.default_rng(0)
    params = {
        part: {"kernel": rng.normal(size=(size, n)).astype(np.float32),
               "bias": rng.normal(size=n).astype(np.float32)}
        for part, n in (("pooler", size), ("head", 2))
    }  # fmt: skip
    arrays = load_file(tmp_path / "model.safetensors")
    arrays = {k: v for k, v in arrays.items() if not k.startswith("classifier")}
    save_file(arrays | huggingface_heads.arrays_of(params, model_type=family),
              tmp_path / "model.safetensors")  # fmt: skip
    config |= {"architectures": ["XForSequenceClassification"], "id2label": {"0": "a", "1": "b"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = huggingface_heads.read(str(tmp_path))
    assert found.labels == ("a", "b") and not found.multi
    jax.tree.map(np.testing.assert_array_equal, found.params, params)
    config["problem_type"] = "regression"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="predicts a number"):
        huggingface_heads.read(str(tmp_path))


# --- what cannot be ---


def test_a_text_of_two_classes_or_of_an_unknown_one_is_an_error_with_its_place(run, tmp_path):
    folder, kind, _ = run
    path = tmp_path / "a.csv"
    path.write_text("text,label\nplay,sport|art\n")
    given = {"init__checkpoint": "none", "data__train": str(path), "data__dev": str(path)}
    with pytest.raises(UserError, match=f"{path}:2: expected one class, found sport, art; texts"):
        classification.make(load("files", **given, data__label_separator="|"))
    path.write_text("text,label\nplay,golf\n")
    config = load("files", **given, loss__kind=kind, text__row_length="24")
    with pytest.raises(UserError, match=f"{path}: class 'golf' is not one that the model knows: a"):
        classification.load(config, str(folder), splits=("dev",))


def test_classes_that_training_has_none_of_are_a_warning(tmp_path):
    for name, label in {"train": "a", "dev": "b"}.items():
        (tmp_path / f"{name}.csv").write_text(f"text,label\nx,{label}\n")
    paths = {f"data__{name}": str(tmp_path / f"{name}.csv") for name in ("train", "dev")}
    made = classification.make(load("files", init__checkpoint="none", **paths))
    unseen, only = made.data.warnings
    assert unseen.startswith("dev has classes that no text of train is of") and "b (1)" in unseen
    assert only.startswith("every text of train is of the class 'a'")


# --- meshes ---


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_losses_depend_neither_on_the_mesh_nor_on_the_parts(kind, monkeypatch):
    """Dropout and hidden words too; 11 rows divide by nothing."""
    given = {"num_epochs": "none", "num_steps": "6", "batch__rows": "11", "loss__kind": kind,
             "model__dropout": "0.2", "augment__word_dropout": "0.2"}  # fmt: skip

    def losses(**more):
        setup = build.build(load(**given, **more))
        state, _ = starting_points.new_state(setup)
        found = []
        for number in range(6):
            state, scalars = setup.train_step(state, setup.put(range(number, number + 1)))
            found.append(float(scalars["loss"]))
        return found

    spread = losses(mesh="data=8", batch__accumulate="2"), losses(mesh="data=2,fsdp=2,tensor=2")
    monkeypatch.setattr(sharding, "make_mesh", one_device)
    alone = losses()
    for found in spread:
        np.testing.assert_allclose(found, alone, rtol=TOLERANCE)
