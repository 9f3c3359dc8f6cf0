"""The task of tagging words: what its batches hold, and that a score is a property of the split and
the parameters alone. That training works is proven in `test_train.py`."""

import collections
import functools
import json
import shutil
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from conftest import ROOT
from jax.sharding import Mesh

from bigjax.config import values as configs
from bigjax.data.pipeline import global_batch
from bigjax.data.text import news
from bigjax.data.text.sentences import Strings, collect
from bigjax.data.text.tags import spans
from bigjax.engine import settings, sharding
from bigjax.engine.scorer import Scorer, make_eval_step
from bigjax.errors import UserError
from bigjax.loop.evaluate import evaluate
from bigjax.models import huggingface
from bigjax.scores import intervals
from bigjax.tasks import encoders
from bigjax.tasks.token_tagging import rows, scoring
from bigjax.tasks.token_tagging import task as token_tagging
from bigjax.trees import leaf_names

TOLERANCE = 1e-5
SIZES = {
    "text.vocab_size": "600",
    "text.row_length": "32",
    "model.num_layers": "1",
    "model.hidden_size": "16",
    "model.num_heads": "2",
    "model.mlp_size": "32",
    "data.num_train": "60",
    "data.num_dev": "25",
    "data.num_test": "5",
}


def make(**overrides: str):
    file = f"{ROOT}/configs/bert_ner.py:scratch"
    given = SIZES | {key.replace("__", "."): value for key, value in overrides.items()}
    config = configs.load(file, overrides=given, schema=settings.schema)
    return token_tagging.make(config)


@pytest.fixture(scope="module")
def task():
    return make()


@pytest.fixture(scope="module")
def splits():
    """The sentences themselves."""
    return news.read(num_train=60, num_dev=25, num_test=5)


def shapes_of(task):
    return nn.meta.unbox(jax.eval_shape(task.model.init, jax.random.key(0)))


@pytest.fixture(scope="module")
def init(task):
    return jax.jit(lambda key: nn.meta.unbox(task.model.init(key)))


@pytest.fixture(scope="module")
def variables(init):
    """Random parameters with a head large enough that the predicted tags vary."""
    found = init(jax.random.key(0))
    head = jax.tree.map(lambda x: 50 * x, found["params"]["head"])
    return {"params": found["params"] | {"head": head}}


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_of_training_labels_every_word_once(task, splits, epoch):
    names = task.use.files["tags.txt"].split()
    numbers = np.arange(task.data.train.num_rows) + epoch * task.data.train.num_rows
    rows = task.data.train.rows(numbers)
    found = collections.Counter(names[label] for label in rows["labels"][rows["mask"]])
    assert found == collections.Counter(tag for tags in splits["train"].tags for tag in tags)


def test_epochs_visit_the_rows_in_different_orders(task):
    first, second = (
        task.data.train.rows(
            np.arange(task.data.train.num_rows) + epoch * task.data.train.num_rows
        )["tokens"]
        for epoch in (0, 1)
    )
    assert first.shape == second.shape and not np.array_equal(first, second)
    ordinary = lambda tokens: collections.Counter(tokens.ravel().tolist())  # noqa: E731
    assert ordinary(first) == ordinary(second)


def test_every_sentence_and_token_is_counted_once(task, splits):
    rows = task.data.train.rows(np.arange(task.data.train.num_rows))
    counts = task.data.counts({name: jnp.asarray(x) for name, x in rows.items()})
    assert int(counts["sentences"]) == len(splits["train"].words) == task.data.train.num_examples
    assert int(counts["tokens"]) == (rows["segments"] > 0).sum()
    expected = int(counts["tokens"]) / rows["tokens"].size
    assert task.data.train.fill == pytest.approx(expected)


def test_evaluation_rows_label_every_word_once_and_then_none(task, splits):
    dev = task.data.evals["dev"]
    rows = dev.rows(np.arange(dev.num_rows))
    assert rows["mask"].sum() == sum(map(len, splits["dev"].words))
    beyond = dev.rows(np.arange(dev.num_rows, dev.num_rows + 3))
    assert not any(x.any() for x in beyond.values())


def test_the_size_of_a_batch_counts_windows_and_does_not_depend_on_the_devices(task):
    """Here most sentences are several windows."""
    train = task.data.train
    num_windows = sum(map(len, train.examples(np.arange(train.num_rows))))
    assert num_windows > 2 * train.num_examples
    assert train.batch_rows == round(32 * train.num_rows / num_windows)
    assert make(batch__examples="none", batch__tokens="100").data.train.batch_rows == 100 // 32


# --- scores ---------------------------------------------------------------------------------------


def mesh_of(num_devices: int) -> Mesh:
    devices = np.array(jax.devices()[:num_devices]).reshape(num_devices, 1, 1)
    return Mesh(devices, sharding.AXES)


def scores_of(task, variables, *, num_devices: int, batch_rows: int):
    mesh = mesh_of(num_devices)
    resized = {"dev": task.data.evals["dev"]._replace(batch_rows=batch_rows)}
    task = task._replace(data=task.data._replace(evals=resized))
    variables = jax.device_put(variables, sharding.replicated(mesh))
    scorer = Scorer(task, mesh, variables, {}, make_eval_step(task, mesh=mesh))
    return evaluate(scorer, split="dev", variables=variables, between=lambda: None)


@pytest.fixture(scope="module")
def scores(task, variables):
    return scores_of(task, variables, num_devices=1, batch_rows=32)


@pytest.mark.parametrize(
    ("num_devices", "batch_rows"), [(1, 1), (1, 3), (8, 1), (8, 3), (8, 32), (3, 5)]
)
def test_scores_depend_neither_on_the_batch_nor_on_the_devices(
    task, variables, scores, num_devices, batch_rows
):
    found = scores_of(task, variables, num_devices=num_devices, batch_rows=batch_rows)
    loss, expected_loss = found.scalars["loss"], scores.scalars["loss"]
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE)
    assert found.scalars | {"loss": 0} == scores.scalars | {"loss": 0}
    tables = lambda scores: [s for s in scores.sections if s["kind"] != "tagged_text"]  # noqa: E731
    assert tables(found) == tables(scores)


def test_every_word_of_the_split_is_in_the_scores(scores, splits):
    confusion = next(s for s in scores.sections if s["kind"] == "confusion")
    assert np.sum(confusion["counts"]) == sum(map(len, splits["dev"].words))
    predicted = np.sum(confusion["counts"], axis=0)
    assert (predicted > 0).sum() > 1  # else equal scores would prove nothing


def test_scores_in_parts_are_the_scores(scores):
    expected = {name: value for name, value in scores.scalars.items() if name != "loss"}
    found = {name: intervals.value(parts) for name, parts in scores.parts.items()}
    assert found == pytest.approx(expected, abs=1e-12)
    assert all(len(parts.kind) == 25 for parts in scores.parts.values())


def test_what_is_kept_of_wrong_sentences_is_what_is_gold_and_what_is_predicted(scores, splits):
    kept = scores.wrong()
    share = scores.parts["entity_f1"]
    all_right = (share.num == share.den)[share.kind, 0]
    assert [item["example"] for item in kept] == np.flatnonzero(~all_right).tolist()
    for item in kept:
        words, tags = splits["dev"].words[item["example"]], splits["dev"].tags[item["example"]]
        assert item["words"] == words and item["gold"] == spans(tags) != item["predicted"]


def test_of_plain_tags_the_wrong_words_are_kept():
    gold = collect([(["a", "b", "c"], ["X", "Y", "X"]), (["a"], ["X"])], where="test")
    split = rows.Split(gold, None, np.array([0, 1, 0, 0]), None)
    found = Strings(["X", "Y"], np.array([0, 0, 1, 0]), gold.tags.offsets)
    (item,) = scoring._wrong(split, found, scoring._word_spans)
    assert (item["gold"], item["predicted"]) == (
        [(1, 2, "Y"), (2, 3, "X")],
        [(1, 2, "X"), (2, 3, "Y")],
    )


def test_words_are_tagged_as_when_each_sentence_is_alone(variables, splits):
    """A row a sentence instead of packed rows: the same tags, and the same mean loss."""
    wide = make(text__row_length="96", decode__kind="argmax")
    tokenizer = tokenizers.Tokenizer.from_str(wide.use.files["tokenizer.json"])
    names = wide.use.files["tags.txt"].split()
    predict = jax.jit(lambda variables, batch: wide.model.apply(variables, batch, None)[0])
    losses, right, num_words = 0.0, 0, 0
    for words, tags in zip(splits["dev"].words, splits["dev"].tags):
        encoding = tokenizer.encode(words, is_pretokenized=True)
        firsts = [encoding.word_ids.index(word) for word in range(len(words))]
        tokens, segments, positions = np.zeros((3, 1, 96), np.int32)
        tokens[0, : len(encoding.ids)] = encoding.ids
        segments[0, : len(encoding.ids)] = 1
        positions[0, : len(encoding.ids)] = range(len(encoding.ids))
        batch = {"tokens": tokens, "segments": segments, "positions": positions}
        found = np.asarray(predict(variables, batch)["logits"], np.float64)[0, firsts]
        gold = [names.index(tag) for tag in tags]
        losses += (np.log(np.exp(found).sum(1)) - found[range(len(words)), gold]).sum()
        right += (found.argmax(1) == gold).sum()
        num_words += len(words)
    packed = scores_of(wide, variables, num_devices=1, batch_rows=8).scalars
    assert packed["accuracy"] == right / num_words
    assert packed["loss"] == pytest.approx(losses / num_words, rel=TOLERANCE)


def test_smoothing_is_of_the_training_loss_alone(task, variables):
    smooth = make(loss__label_smoothing="0.5")
    batch = global_batch(task.data.train, step=0, rows=np.arange(4))
    key = jax.random.key(0)

    def losses(of):
        outputs, _ = jax.jit(of.model.apply)(variables, batch, key)
        sums = (of.model.train_sums(outputs, batch), of.model.eval_sums(outputs, batch))
        return (float(found["loss"].compute()) for found in sums)

    (train, evaluated), (smooth_train, smooth_evaluated) = losses(task), losses(smooth)
    assert evaluated == smooth_evaluated
    assert abs(train - smooth_train) > 0.01


def test_class_weights_are_those_of_the_tags_of_the_words_that_count(task, variables):
    names = task.use.files["tags.txt"].split()
    weights = {name: 0.5 + i for i, name in enumerate(names)}
    weighted = make(loss__class_weights=str(list(weights.values())))
    batch = global_batch(task.data.train, step=0, rows=np.arange(4))
    outputs, _ = jax.jit(task.model.apply)(variables, batch, None)
    found = weighted.model.train_sums(outputs, batch)["loss"]
    logits, gold = (
        np.asarray(outputs["logits"], np.float64)[batch["mask"]],
        batch["labels"][batch["mask"]],
    )
    losses = np.log(np.exp(logits).sum(1)) - logits[range(len(gold)), gold]
    by_word = np.array([weights[names[label]] for label in gold])
    assert float(found.count) == pytest.approx(by_word.sum(), rel=TOLERANCE)
    assert float(found.compute()) == pytest.approx(
        np.average(losses, weights=by_word), rel=TOLERANCE
    )


def test_balanced_weights_give_each_tag_of_training_the_same_share(splits):
    balanced = make(loss__class_weights="balanced")
    rows = balanced.data.train.rows(np.arange(balanced.data.train.num_rows))
    logits = jnp.zeros((*rows["labels"].shape, 9))
    found = balanced.model.train_sums({"logits": logits}, rows)["loss"]
    assert float(found.count) == pytest.approx(sum(map(len, splits["train"].words)), rel=TOLERANCE)


# --- use ------------------------------------------------------------------------------------------


def test_the_rule_that_cut_text_into_words_is_kept_with_the_run(task, tmp_path):
    assert json.loads(task.use.files["words.json"]) == {"rule": "pre-split"}
    lines = [{"text": f"Ada {i} sang.", "spans": [[0, 3, "PER"]]} for i in range(40)]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    given = {key: value for key, value in SIZES.items() if not key.startswith("data.")}
    file = f"{ROOT}/configs/bert_ner.py:files"
    given |= {"data.train": str(path), "init.checkpoint": "none"}
    config = configs.load(file, overrides=given, schema=settings.schema)
    made = token_tagging.make(config)
    assert json.loads(made.use.files["words.json"]) == {"rule": "unicode-1"}
    assert (made.data.train.num_examples, made.data.evals["dev"].num_examples) == (36, 4)
    for name, content in made.use.files.items():
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    loaded = token_tagging.load(config, str(tmp_path), splits=["dev"])
    assert loaded.use.files == made.use.files
    (tmp_path / "words.json").unlink()  # a run of before
    loaded = token_tagging.load(config, str(tmp_path), splits=["dev"])
    assert json.loads(loaded.use.files["words.json"]) == {"rule": "pre-split"}
    (tmp_path / "words.json").write_text("{}")
    with pytest.raises(UserError, match="words.json: cannot be read"):
        token_tagging.load(config, str(tmp_path), splits=["dev"])


def test_a_finished_run_is_loaded_without_its_training_data(task, splits, variables, tmp_path):
    """Its sentences, as raw words, get the tags that scoring gives them."""
    for name, content in task.use.files.items():
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    file = f"{ROOT}/configs/bert_ner.py:scratch"
    argmax = SIZES | {"decode.kind": "argmax"}
    config = configs.load(file, overrides=argmax, schema=settings.schema)
    loaded = token_tagging.load(config, str(tmp_path), splits=("dev",))
    assert loaded.data.train is None and set(loaded.data.evals) == {"dev"}
    assert loaded.use.files == task.use.files
    apply = jax.jit(lambda batch: loaded.model.apply(variables, batch, None)[0]["logits"])
    given = [loaded.use.prepare(words) for words in splits["dev"].words]
    rows, decode = loaded.use.encode(given)
    logits = np.asarray(apply(rows.rows(np.arange(rows.num_rows))))
    answers = decode({"logits": logits})
    assert [answer["tokens"] for answer in answers] == [list(w) for w in splits["dev"].words]
    scores = loaded.scoring.score("dev", {"logits": logits})
    found = [set(spans(answer["tags"])) for answer in answers]
    gold = [set(spans(tags)) for tags in splits["dev"].tags]
    right = sum(len(a & b) for a, b in zip(found, gold))
    assert scores.scalars["entity_recall"] == right / sum(map(len, gold))
    assert all(0 < e["score"] <= 1 for answer in answers for e in answer["entities"])


def test_a_tag_that_the_run_does_not_know_is_one_line(task, tmp_path):
    for name, content in (dict(task.use.files) | {"tags.txt": "O\nB-PER\nI-PER\n"}).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    file = f"{ROOT}/configs/bert_ner.py:scratch"
    config = configs.load(file, overrides=SIZES, schema=settings.schema)
    with pytest.raises(UserError, match="tag 'B-.*' is not one that the model knows: O, B-PER, I"):
        token_tagging.load(config, str(tmp_path), splits=("dev",))


# --- the task -------------------------------------------------------------------------------------


def test_the_run_keeps_the_tokenizer_and_the_names_of_the_tags(task):
    types = ("LOC", "MISC", "ORG", "PER")
    assert task.use.files["tags.txt"].split() == ["O", *(f"{p}-{t}" for t in types for p in "BI")]
    tokenizer = tokenizers.Tokenizer.from_str(task.use.files["tokenizer.json"])
    assert 500 < tokenizer.get_vocab_size() <= 600


def test_the_same_config_makes_the_same_tokenizer(task):
    assert make().use.files == task.use.files


def test_every_kernel_and_embedding_depends_on_the_seed(init):
    first, other = (init(jax.random.key(seed))["params"] for seed in (0, 1))
    same = jax.tree.map(np.array_equal, first, other)
    for name, equal in zip(leaf_names(same), jax.tree.leaves(same)):
        assert equal != name.endswith(("kernel", "embedding"))


def test_depths_count_from_the_embeddings_to_the_head(task):
    params = nn.meta.unbox(jax.eval_shape(task.model.init, jax.random.key(0)))["params"]
    depths = task.model.layer_depths(params)
    assert set(jax.tree.leaves(depths["head"])) == {2}
    assert set(jax.tree.leaves(depths["encoder"]["layer_0"])) == {1}
    assert set(jax.tree.leaves(depths["encoder"]["word"])) == {0}


def test_the_report_on_the_data_counts_what_is_there(task, splits):
    rows = dict(task.data.report())
    words = sum(map(len, splits["dev"].words))
    assert rows["dev: size"].startswith(f"25 sentences, {words} words, ")
    begins = [tag[2:] for tags in splits["dev"].tags for tag in tags if tag[0] == "B"]
    kinds = collections.Counter(begins)
    expected = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    assert rows["dev: entities"] == expected


def with_tags(tags: str, *, where: str = "here") -> rows.Split:
    found = collect([(["word"] * len(tags.split()), tags.split())], where=where)
    return rows.Split(found, windows=None, labels=None, packing=None)


def test_tags_that_training_has_none_of_are_a_warning():
    train = with_tags("O B-PER I-PER")
    assert scoring.warnings({"train": train, "dev": with_tags("O B-PER")}) == ()
    assert scoring.warnings({"dev": with_tags("B-LOC")}) == ()
    splits = {"train": train, "dev": with_tags("B-LOC I-LOC B-LOC O"), "test": with_tags("B-X")}
    assert scoring.warnings(splits) == (
        "dev has tags that no word of train has, which cannot be learnt: B-LOC (2), I-LOC (1)",
        "test has tags that no word of train has, which cannot be learnt: B-X (1)",
    )


@pytest.mark.parametrize("tag", ["O", "NN"])
def test_training_data_of_one_tag_is_a_warning(tag):
    assert scoring.warnings({"train": with_tags(f"{tag} {tag}", where="a.conll")}) == (
        f"every word of train (a.conll) has the tag {tag!r}: there is nothing to learn; see that "
        "it is read as it is meant",
    )


def test_heads_that_do_not_divide_the_hidden_size_are_an_error():
    with pytest.raises(UserError, match="hidden_size=16 does not divide into .*num_heads=3 heads"):
        make(model__num_heads="3")


@pytest.mark.parametrize("scan_layers", ["false", "true"])
def test_pretrained_parameters_have_a_place_in_the_model(tiny_bert, scan_layers):
    overrides = {
        "init.checkpoint": tiny_bert,
        "text.row_length": "40",
        "model.scan_layers": scan_layers,
        "data.num_train": "5",
        "data.num_dev": "5",
        "data.num_test": "5",
    }
    found = token_tagging.make(
        configs.load(f"{ROOT}/configs/bert_ner.py", overrides=overrides, schema=settings.schema)
    )
    params, source, note = found.model.pretrained()[:3]
    assert source == tiny_bert and set(params) == {"encoder"}
    assert note.startswith("its head is not taken, it has other tags (only")
    expected = shapes_of(found)["params"]["encoder"]
    shapes = functools.partial(jax.tree.map, lambda x: (x.shape, x.dtype))
    assert shapes(params["encoder"]) == shapes(expected)


def test_a_head_of_the_same_tags_comes_with_its_rows_where_ours_are(tiny_bert, tmp_path):
    (tmp_path / "train.conll").write_text("John\tB-PER\nO'Neil\tI-PER\nlives\tO\n")
    model = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config["id2label"] = {"0": "I-PER", "1": "O", "2": "B-PER"}
    (model / "config.json").write_text(json.dumps(config))
    overrides = {
        "init.checkpoint": str(model),
        "text.row_length": "40",
        "data.train": str(tmp_path / "train.conll"),
        "data.dev": str(tmp_path / "train.conll"),
    }
    file = f"{ROOT}/configs/bert_ner.py:files"
    found = token_tagging.make(configs.load(file, overrides=overrides, schema=settings.schema))
    assert found.use.files["tags.txt"].split() == ["O", "B-PER", "I-PER"]
    params, _, note = found.model.pretrained()[:3]
    assert note == ""
    expected = shapes_of(found)["params"]["head"]
    shapes = functools.partial(jax.tree.map, lambda x: (x.shape, x.dtype))
    assert shapes(params["head"]) == shapes(expected)
    theirs = huggingface.read_head(tiny_bert)
    np.testing.assert_array_equal(params["head"]["kernel"], theirs.kernel[:, [1, 2, 0]])
    np.testing.assert_array_equal(params["head"]["bias"], theirs.bias[[1, 2, 0]])


def test_a_run_of_before_embeddings_had_a_size_of_their_own_is_read(task, tmp_path):
    kept = json.loads(task.use.files["encoder.json"])
    assert "embedding_size" not in kept  # else an older run could not be resumed
    (tmp_path / "encoder.json").write_text(json.dumps(kept))
    (tmp_path / "tokenizer.json").write_text(task.use.files["tokenizer.json"])
    assert encoders.load(str(tmp_path)).sizes.embedding_size is None
    (tmp_path / "encoder.json").write_text(json.dumps(kept | {"embedding_size": 8}))
    found = encoders.load(str(tmp_path))
    assert found.sizes.embedding_size == 8
    assert json.loads(encoders.files(found)["encoder.json"]) == kept | {"embedding_size": 8}
