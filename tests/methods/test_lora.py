"""Low-rank adapters: beside slow, obvious references, and a run of them from start to use."""

import json
import types

import flax.linen as nn
import jax
import numpy as np
import pytest
from conftest import ROOT
from finished import write_conll
from safetensors.numpy import load_file
from tiny_runs import one_device

from bigjax.checkpoints import manifest
from bigjax.config import values as configs
from bigjax.engine import cost, settings, sharding
from bigjax.engine.build import build
from bigjax.errors import UserError
from bigjax.export import peft
from bigjax.inference import opening, predictor
from bigjax.loop import starting_points
from bigjax.methods import lora, lora_files
from bigjax.methods.lora import LoRA
from bigjax.models import bert
from bigjax.modes import evaluate, train
from bigjax.modes import export as export_mode
from bigjax.tasks.task import Use
from bigjax.tasks.token_tagging.model import Tagger, make_model
from bigjax.trees import flatten

SIZES = bert.Sizes(
    vocab_size=30, num_layers=2, hidden_size=16, num_heads=2, mlp_size=24, max_positions=12
)
BATCH = {
    "tokens": np.arange(24, dtype=np.int32).reshape(3, 8) % 30,
    "segments": np.repeat([[1, 1, 1, 2, 2, 2, 0, 0]], 3, 0).astype(np.int32),
    "positions": np.repeat([[0, 1, 2, 0, 1, 2, 0, 0]], 3, 0).astype(np.int32),
    "labels": np.arange(24, dtype=np.int32).reshape(3, 8) % 5,
    "mask": np.repeat([[1, 1, 1, 1, 1, 1, 0, 0]], 3, 0).astype(bool),
    "row": np.arange(3, dtype=np.int32),
}


def tagger(**compute):
    found = Tagger(SIZES, bert.Compute(**compute), 5)
    return make_model(found, smoothing=0.0, weights_T=None, pretrained=None)


def wrapped(model, *, rank=4, **given):
    """The wrapped model, and the one of its run in use."""
    chosen = LoRA(rank=rank, alpha=2.0 * rank, **given)
    config = types.SimpleNamespace(
        of=lambda taker: chosen if taker is LoRA else types.SimpleNamespace(seed=3)
    )
    task = lora.wrap(
        types.SimpleNamespace(
            model=model, use=Use({}, None), _replace=lambda **k: types.SimpleNamespace(**k)
        ),
        config,
    )
    return task.model, lora.saved(model, config, folder="nowhere")


def apply(model):
    return jax.jit(lambda variables: model.apply(variables, BATCH, None))


def started(model):
    """Its variables, with adapters that add something, and what is frozen beside them."""
    variables = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0)))
    frozen = model.frozen()
    keys = iter(jax.random.split(jax.random.key(1), 99))
    moved = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(next(keys), x.shape), variables)
    return variables, moved, frozen


@pytest.mark.parametrize(
    "compute", [{}, {"scan_layers": True}, {"scan_layers": True, "remat": "dots"}]
)
def test_adapters_beside_kernels_are_those_kernels_with_the_product_added(compute):
    model = tagger(**compute)
    adapted, saved = wrapped(model)
    first, moved, frozen = started(adapted)
    for variables, tolerance in ((first, 0.0), (moved, 1e-5)):
        outputs, _ = apply(adapted)({**variables, "frozen": frozen})
        expected, _ = apply(model)(saved.used(variables, frozen))
        np.testing.assert_allclose(outputs["logits"], expected["logits"], rtol=0, atol=tolerance)
    name = "encoder/layers/query/" if compute else "encoder/layer_1/query/"
    of = {**flatten(moved["params"]), **flatten(frozen["base"])}
    i = (1,) if compute else ()
    by_hand = of[name + "kernel"][i] + 2 * (of[name + "lora_a"][i] @ of[name + "lora_b"][i])
    np.testing.assert_allclose(
        flatten(saved.used(moved, frozen)["params"])[name + "kernel"][i], by_hand, atol=1e-6
    )


def test_the_gradient_is_that_of_the_merged_model_and_costs_none_of_the_base():
    model = tagger(dropout=0.0, attention_dropout=0.0)
    adapted, saved = wrapped(model, rank=1)
    _, moved, frozen = started(adapted)

    def loss(model, variables):
        outputs, _ = model.apply(variables, BATCH, None)
        return model.train_sums(outputs, BATCH)["loss"].compute()

    beside = lambda params: loss(adapted, {"params": params, "frozen": frozen})  # noqa: E731
    slowly = lambda params: loss(model, saved.used({"params": params}, frozen))  # noqa: E731
    found, expected = (flatten(jax.jit(jax.grad(f))(moved["params"])) for f in (beside, slowly))
    assert sorted(found) == sorted(expected)
    assert "head/kernel" in found and "encoder/layer_0/up/lora_a" in found
    for name, x in found.items():
        np.testing.assert_allclose(x, expected[name], atol=2e-6, err_msg=name)
    full = nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0)))["params"]
    traced = [
        jax.make_jaxpr(jax.grad(f))(p)
        for f, p in ((beside, moved["params"]), (lambda p: loss(model, {"params": p}), full))
    ]
    ours, theirs = (cost.count_flops(cost.needed(one)) for one in traced)
    assert cost.count_flops(traced[0]) > 1.2 * ours, "what is dropped was there"
    assert ours < theirs


def test_layers_are_as_deep_as_those_they_adapt():
    for compute in ({}, {"scan_layers": True}):
        adapted, _ = wrapped(tagger(**compute))
        params = nn.meta.unbox(jax.eval_shape(adapted.init, jax.random.key(0)))["params"]
        depths = flatten(adapted.layer_depths(params))
        assert depths["head/bias"] == 3
        found = (
            depths["encoder/layers/up/lora_a"] if compute else depths["encoder/layer_1/up/lora_a"]
        )
        assert np.ravel(found)[-1] == 2


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ((("head/.*", "train"), (".*", "adpt")), "did you mean 'adapt'"),
        (((".*", "adapt"),), "cannot be adapted: not the kernel of a dense layer"),
        (((".*quary/kernel", "adapt"), (".*", "freeze")), "matches no parameter"),
        (((".*/kernel", "adapt"),), "no lora rule matches"),
        (((".*", "freeze"),), "adapt no kernel"),
    ],
)
def test_rules_that_cannot_be_are_told(rules, problem):
    with pytest.raises(UserError, match=problem):
        wrapped(tagger(), rules=rules)


# --- a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_bert):
    """A finished run with adapters: its folder, config and scores."""
    folder = tmp_path_factory.mktemp("lora")
    overrides = {
        "num_epochs": "none", "num_steps": "6",
        "eval.every_epochs": "none", "eval.every_steps": "3",
        "optim.learning_rate": "0.02", "text.row_length": "32", "init.checkpoint": tiny_bert,
        "data.train": write_conll(folder / "train.conll", num_sentences=40),
        "data.dev": write_conll(folder / "dev.conll", num_sentences=10), "lora.rank": "2",
    }  # fmt: skip
    load = lambda **more: configs.load(  # noqa: E731
        f"{ROOT}/configs/bert_ner.py:files", overrides=overrides | more, schema=settings.schema
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        scores = train.train(load(), workdir=str(folder / "run"))
        yield types.SimpleNamespace(folder=folder / "run", load=load, scores=scores)


def test_the_base_lies_once_in_the_folder_and_its_hashes_in_each_checkpoint(run):
    kept = lora_files.read_base(str(run.folder))
    found = manifest.read(str(run.folder / "checkpoints" / "6"))
    assert not [name for name in found.arrays if name.startswith("params/") and "up/kernel" in name]
    assert sorted(found.facts["frozen"]) == sorted(f"base/{name}" for name in kept)
    assert "encoder/layer_0/up/kernel" in kept and "head/kernel" not in kept


def test_a_run_with_adapters_scores_and_predicts_from_its_folder_alone(run):
    config = configs.from_record(
        json.loads((run.folder / "config.json").read_text()),
        path="",
        overrides={},
        schema=settings.schema,
    )
    again = evaluate.score_run(config, workdir=str(run.folder))
    assert again["dev/entity_f1"] == run.scores["dev/entity_f1"]
    assert again["dev/loss"] == pytest.approx(run.scores["dev/loss"], rel=1e-5)
    used = predictor.load(str(run.folder))
    assert "lora" not in str(flatten(used.members[0].variables)) and not used.members[0].frozen
    assert used([["Anna", "met", "Bob"]])[0]["tags"]


def test_another_run_can_start_from_the_whole_model(run):
    setup = build(run.load(**{"init.checkpoint": str(run.folder), "lora.rank": "none"}))
    state, _ = starting_points.new_state(setup)
    used = predictor.load(str(run.folder)).members[0].variables["params"]
    for name, x in flatten(state.params).items():
        np.testing.assert_array_equal(x, flatten(used)[name], err_msg=name)


def test_a_changed_base_is_refused(run):
    whole = (run.folder / lora_files.BASE_FILE).read_bytes()
    broken = bytearray(whole)
    broken[-5] ^= 1
    try:
        (run.folder / lora_files.BASE_FILE).write_bytes(broken)
        with pytest.raises(UserError, match="trained beside other frozen variables: base/"):
            predictor.load(str(run.folder))
        (run.folder / lora_files.BASE_FILE).write_bytes(whole[:100])
        with pytest.raises(UserError, match="cannot be read .*put it back from a copy"):
            predictor.load(str(run.folder))
    finally:
        (run.folder / lora_files.BASE_FILE).write_bytes(whole)


# --- adapters of PEFT's ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapters(run):
    """The run's adapters in a folder as peft has it, and what it trained."""
    opened = opening.open_trained(str(run.folder), overrides={})
    scorer, _ = export_mode._scorer(opened.config, workdir=str(run.folder))
    portable = scorer.task.use.portable()
    adapted = export_mode._adapted(scorer, opened, portable)
    variables, _ = opening.variables_of(scorer, opened)
    folder = run.folder.parent / "peft"
    folder.mkdir()
    peft.write(folder, portable, portable.params(variables), adapted)
    return folder, flatten(adapted.params)


@pytest.mark.parametrize("scan_layers", ["false", "true"])
def test_adapters_are_read_as_they_were_written(run, adapters, scan_layers):
    folder, trained = adapters
    given = {"lora.adapters": str(folder), "model.scan_layers": scan_layers}
    state, source = starting_points.new_state(build(run.load(**given)))
    assert "with the adapters of" in source
    found = flatten(state.params)
    if scan_layers == "true":
        for name in [name for name in found if "/layers/" in name]:
            stacked = found.pop(name)
            found |= {name.replace("/layers/", f"/layer_{i}/"): x for i, x in enumerate(stacked)}
    assert sorted(found) == sorted(trained)
    for name, x in trained.items():
        np.testing.assert_array_equal(found[name], x, err_msg=name)


def test_what_peft_is_told_of_them(adapters):
    folder, _ = adapters
    said = json.loads((folder / "adapter_config.json").read_text())
    assert (said["r"], said["lora_alpha"], said["task_type"]) == (2, 16.0, "TOKEN_CLS")
    assert said["modules_to_save"] == ["classifier"]
    assert "bert.encoder.layer.0.attention.self.query" in said["target_modules"]
    assert not (folder / "base").exists()  # a model of Hugging Face's, by its folder
    names = list(load_file(folder / "adapter_model.safetensors"))
    assert "base_model.model.bert.encoder.layer.1.output.dense.lora_B.weight" in names
    assert "base_model.model.classifier.weight" in names


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"lora.rank": "3"}, "its r is 2, and this run's 3"),
        ({"lora.rules": "(('.*query/kernel', 'adapt'), ('.*', 'freeze'))"}, "has base_model.model"),
        ({"lora.adapters": "nowhere"}, "lora.adapters=nowhere: cannot be read"),
    ],
)
def test_adapters_that_do_not_fit_are_told(run, adapters, more, problem):
    given = {"lora.adapters": str(adapters[0])} | more
    with pytest.raises(UserError, match=problem):
        starting_points.new_state(build(run.load(**given)))
