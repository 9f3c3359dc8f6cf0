"""Masked-language modelling as it is trained: the loss is that of all logits, rows may share, and
heads of others are read."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import GOLDEN, ROOT

from bigjax.config import values as configs
from bigjax.engine import settings, step
from bigjax.engine.state import TrainState
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, ops
from bigjax.tasks.masked_lm import head, pieces
from bigjax.tasks.masked_lm import task as masked_lm
from bigjax.tasks.masked_lm.documents import Documents

TOLERANCE = 1e-5
SIZES = {
    "text.vocab_size": "120", "text.row_length": "24", "model.num_layers": "1",
    "model.hidden_size": "16", "model.num_heads": "2", "model.mlp_size": "32",
    "data.num_train": "40", "data.num_dev": "12", "batch.rows": "8", "model.dropout": "0",
    "model.attention_dropout": "0",
}  # fmt: skip


def load(variant="scratch", **overrides):
    given = SIZES if variant == "scratch" else {}
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    file = f"{ROOT}/configs/bert_mlm.py:{variant}"
    return configs.load(file, overrides=given | overrides, schema=settings.schema)


@functools.cache
def make(**overrides):
    return masked_lm.make(load(**overrides))


@functools.cache
def variables_of(**overrides):
    """Random parameters that are large enough to matter."""
    found = jax.jit(lambda key: nn.meta.unbox(make(**overrides).model.init(key)))(jax.random.key(0))
    rng = np.random.default_rng(0)
    grow = lambda x: 4 * x + rng.normal(scale=0.1, size=x.shape).astype(np.float32)  # noqa: E731
    return {"params": jax.tree.map(grow, found["params"])}


def batch_of(dataset, *, num: int) -> dict[str, np.ndarray]:
    return dataset.rows(np.arange(num)) | {"row": np.arange(num, dtype=np.int32)}


def slow_loss(params, batch, *, sizes) -> jax.Array:
    """Of the logits (B, L, V) of every position, written out."""
    x_BLD = bert.Encoder(sizes, bert.Compute()).apply(
        {"params": params["encoder"]},
        jnp.asarray(batch["tokens"]),
        segments_BL=batch["segments"],
        positions_BL=batch["positions"],
    )
    own, table_VE = params["head"], params["encoder"]["word"]["embedding"]
    dense, norm = own["dense"], own["norm"]
    x_BLE = ops.gelu(
        jnp.matmul(x_BLD, dense["kernel"], precision="highest") + dense["bias"][None, None]
    )
    x_BLE -= x_BLE.mean(-1, keepdims=True)
    x_BLE /= jnp.sqrt(jnp.square(x_BLE).mean(-1, keepdims=True) + sizes.norm_eps)
    x_BLE = x_BLE * norm["scale"][None, None] + norm["bias"][None, None]
    logits_BLV = jnp.einsum("ble,ve->blv", x_BLE, table_VE, precision="highest")
    log_probs_BLV = jax.nn.log_softmax(logits_BLV + own["bias"][None, None])
    total, count = 0.0, 0
    for b, s in zip(*np.nonzero(batch["mask"])):
        total -= log_probs_BLV[b, batch["slots"][b, s], batch["asked"][b, s]]
        count += 1
    return total / count


@pytest.mark.parametrize("num_parts", [1, 4])
def test_loss_and_gradients_are_those_of_all_logits(num_parts):
    task, variables = make(), variables_of()
    batch = batch_of(task.data.train, num=8)
    sizes = bert.Sizes(**json.loads(task.use.files["encoder.json"]))
    expected, slow = jax.jit(
        lambda params: jax.value_and_grad(slow_loss)(params, batch, sizes=sizes)
    )(variables["params"])
    state = TrainState(jnp.zeros((), jnp.int32), variables["params"], {}, (), None)
    gradients = functools.partial(
        step.mean_gradients, task.model, key=jax.random.key(1), num_microbatches=num_parts
    )
    grads, sums, _ = jax.jit(lambda state, batch: gradients(state, batch=batch))(state, batch)
    assert sums["loss"].count == batch["mask"].sum() > 8
    np.testing.assert_allclose(sums["loss"].compute(), expected, rtol=TOLERANCE)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE * np.abs(b).max() + 1e-7),
        grads,
        slow,
    )


def test_pieces_that_share_a_row_come_to_what_each_comes_to_alone():
    task, variables = make(), variables_of()
    packed = batch_of(task.data.evals["dev"], num=task.data.evals["dev"].num_rows)
    assert packed["segments"].max() > 1
    alone = {name: [] for name in ("tokens", "segments", "positions", "slots", "asked", "mask")}
    for b, segments in enumerate(packed["segments"]):
        for number in range(1, segments.max() + 1):
            (places,) = np.nonzero(segments == number)
            width = (0, segments.shape[0] - len(places))
            mine = packed["mask"][b] & np.isin(packed["slots"][b], places)
            alone["tokens"].append(np.pad(packed["tokens"][b, places], width))
            alone["segments"].append(np.pad(np.ones(len(places), np.int32), width))
            alone["positions"].append(np.pad(packed["positions"][b, places], width))
            alone["slots"].append(np.where(mine, packed["slots"][b] - places[0], 0))
            alone["asked"].append(packed["asked"][b])
            alone["mask"].append(mine)
    alone = {name: np.stack(rows) for name, rows in alone.items()}

    @jax.jit
    def sums(batch):
        return task.model.eval_sums(task.model.apply(variables, batch, None)[0], batch)

    one, other = sums(packed), sums(alone)
    assert one["loss"].count == other["loss"].count > 20
    np.testing.assert_allclose(one["loss"].total, other["loss"].total, rtol=TOLERANCE)
    assert one["masked_accuracy"].total == other["masked_accuracy"].total


def test_an_epoch_has_every_token_once_and_dev_is_hidden_alike_for_every_seed():
    task = make()
    train, told = task.data.train, []
    for epoch in (0, 1):
        rows = train.rows(np.arange(train.num_rows) + epoch * train.num_rows)
        row, slot = np.nonzero(rows["mask"])
        rows["tokens"][row, rows["slots"][row, slot]] = rows["asked"][row, slot]
        counts = np.bincount(rows["tokens"][rows["segments"] > 0], minlength=120)
        told.append((counts, rows["slots"]))
    (counts, slots), (counts_later, slots_later) = told
    assert np.array_equal(counts, counts_later) and not np.array_equal(slots, slots_later)
    first, second = task.data.evals["dev"], make(seed="3").data.evals["dev"]
    for name, array in first.rows(np.arange(first.num_rows)).items():
        assert np.array_equal(array, second.rows(np.arange(first.num_rows))[name]), name


def test_scores_are_those_of_the_outputs():
    task, variables = make(), variables_of()
    dev = task.data.evals["dev"]
    batch = dev.rows(np.arange(dev.num_rows))
    outputs = jax.device_get(jax.jit(lambda b: task.model.apply(variables, b, None)[0])(batch))
    sums = task.model.eval_sums(outputs, batch)
    scores = task.scoring.score("dev", outputs)
    assert scores.scalars["perplexity"] == pytest.approx(float(np.exp(sums["loss"].compute())))
    parts = scores.parts["masked_accuracy"]
    times = np.bincount(parts.kind, minlength=len(parts.num))
    assert (times @ parts.num, times @ parts.den) == (
        sums["masked_accuracy"].total,
        sums["masked_accuracy"].count,
    )
    assert len(parts.kind) == 12
    assert sum(row[1] for row in scores.sections[0]["rows"]) == batch["mask"].sum()


def test_a_long_document_is_cut_where_words_end_and_nothing_is_lost(tiny_bert):
    from bigjax.data.text import tokenization

    tokenizer = tokenization.load_tokenizer(tiny_bert)
    texts = ["Anna met Bob in Paris . " * 20, "", "\x00", "Rome [MASK] [SEP]", "a" * 50]
    found = list(pieces.tokens_of(texts, tokenizer=tokenizer))
    windows = pieces.cut(found, tokenizer=tokenizer, row_length=16)
    inside = windows.words >= 0
    assert windows.lengths.max() <= 16 and (windows.lengths > 2).all()
    assert np.array_equal(windows.tokens[inside], np.concatenate([t.ids for t in found]))
    assert not np.isin(windows.tokens[inside], tokenization.special_ids(tokenizer)[:1]).any()
    mask = tokenizer.token_to_id("[MASK]")
    assert mask not in windows.tokens
    begins = windows.words[windows.offsets[:-1] + 1]
    ends = windows.words[windows.offsets[1:] - 2]
    longer = np.bincount(windows.words[inside]) > 14
    apart = begins[1:] != ends[:-1]
    assert (apart | longer[begins[1:]]).all()
    with pytest.raises(UserError, match="makes no token"):
        pieces.encode_split(Documents(["\x00"], "x.txt"), tokenizer=tokenizer, row_length=16)


# --- heads of others ---


@pytest.mark.parametrize("name", ["tiny_roberta", "tiny_distilbert"])
def test_a_head_goes_in_and_out_unchanged(name):
    from safetensors.numpy import load_file

    folder = GOLDEN / name
    family, sizes = huggingface.read_model_type(folder), huggingface.read_sizes(folder)
    found = head.read(str(folder), sizes=sizes, family=family)
    theirs = load_file(folder / "model.safetensors")
    arrays = head.arrays_of(found, family=family)
    assert len(arrays) == 5
    for key, array in arrays.items():
        assert array.dtype == np.float32 and np.array_equal(array, theirs[key]), key
    model = masked_lm.make(
        load("default", init__checkpoint=str(folder), data__num_train="20", text__row_length="24")
    ).model
    given = model.pretrained()
    assert given.note == "" and np.array_equal(given.params["head"]["bias"], found["bias"])


def test_a_model_without_a_head_begins_as_well_as_guessing_by_frequency(tiny_bert):
    task = masked_lm.make(
        load("default", init__checkpoint=tiny_bert, text__row_length="24", data__num_train="200")
    )
    given = task.model.pretrained()
    assert "no head" in given.note
    own = given.params["head"]
    x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    dense = ops.gelu(x @ own["dense"]["kernel"] + own["dense"]["bias"][None])
    same = np.asarray((dense - dense.mean(1, keepdims=True)) / dense.std(1)[:, None])
    np.testing.assert_allclose(same, x, atol=0.1)
    rows = batch_of(task.data.train, num=task.data.train.num_rows)
    tokens = np.bincount(rows["asked"][rows["mask"]], minlength=len(own["bias"]))
    log_probs = jax.nn.log_softmax(own["bias"])
    by_bias = -(tokens * log_probs).sum() / tokens.sum()
    share = tokens[tokens > 0] / tokens.sum()
    entropy = -(share * np.log(share)).sum()
    assert by_bias < entropy + 0.3


def test_a_table_of_outputs_that_is_not_that_of_inputs_is_refused(tmp_path):
    import shutil

    from safetensors.numpy import load_file, save_file

    shutil.copytree(GOLDEN / "tiny_roberta", tmp_path / "m")
    arrays = load_file(tmp_path / "m" / "model.safetensors")
    table = "roberta.embeddings.word_embeddings.weight"
    save_file(
        arrays | {"lm_head.decoder.weight": arrays[table] + 1}, tmp_path / "m/model.safetensors"
    )
    sizes = huggingface.read_sizes(tmp_path / "m")
    with pytest.raises(UserError, match="one table for both"):
        head.read(str(tmp_path / "m"), sizes=sizes, family="roberta")
