"""Whichever files hold a folder's weights, the encoder gets the same parameters; and each way in
which they can be wrong."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import GOLDEN
from safetensors.numpy import load_file, save_file

from bigjax.errors import UserError
from bigjax.models import huggingface, weight_files


def params_of(folder: Path):
    return huggingface.read_params(str(folder), sizes=huggingface.read_sizes(str(folder)))


def folder_with(tiny_bert: str, *, to: Path) -> Path:
    """A folder that lacks nothing but its weights."""
    shutil.copytree(tiny_bert, to, ignore=shutil.ignore_patterns("model.safetensors"))
    return to


def put(folder: Path, **files: str) -> None:
    for name, golden in files.items():
        shutil.copy(GOLDEN / "torch" / golden, folder / f"{name}.bin")


def put_index(folder: Path, name: str, *, weight_map: dict[str, str]) -> Path:
    path = folder / f"{name}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return path


def one_file_of_pytorch(folder: Path) -> None:
    put(folder, pytorch_model="tiny_bert.zip.bin")


def one_file_of_old_pytorch_with_names_of_tensorflow(folder: Path) -> None:
    put(folder, pytorch_model="tiny_bert.stream.bin")


def shards_of_pytorch(folder: Path) -> None:
    files = {"first": "pytorch_model-1-of-2", "second": "pytorch_model-2-of-2"}
    put(folder, **{name: f"tiny_bert.{part}.bin" for part, name in files.items()})
    names = sorted(load_file(GOLDEN / "tiny_bert" / "model.safetensors"))
    names = sorted([*names, "bert.embeddings.position_ids"])
    half = len(names) // 2
    weight_map = {
        name: f"{files['first' if i < half else 'second']}.bin" for i, name in enumerate(names)
    }
    put_index(folder, "pytorch_model.bin", weight_map=weight_map)


def shards_of_safetensors(folder: Path) -> None:
    tensors = load_file(GOLDEN / "tiny_bert" / "model.safetensors")
    weight_map = {}
    for number in range(3):
        file = f"model-{number + 1:05}-of-00003.safetensors"
        names = sorted(tensors)[number::3]
        save_file({name: tensors[name] for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    put_index(folder, "model.safetensors", weight_map=weight_map)


@pytest.mark.parametrize(
    "put_weights",
    [
        one_file_of_pytorch,
        one_file_of_old_pytorch_with_names_of_tensorflow,
        shards_of_pytorch,
        shards_of_safetensors,
    ],
)
def test_the_parameters_are_bitwise_those_of_one_safetensors_file(tiny_bert, tmp_path, put_weights):
    folder = folder_with(tiny_bert, to=tmp_path / "model")
    put_weights(folder)
    found, expected = params_of(folder), params_of(Path(tiny_bert))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), found, expected)
    head, same = huggingface.read_head(str(folder)), huggingface.read_head(tiny_bert)
    np.testing.assert_array_equal(head.kernel, same.kernel)


def test_safetensors_come_before_files_of_pytorch(tiny_bert, tmp_path):
    folder = folder_with(tiny_bert, to=tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"not looked at")
    shards_of_safetensors(folder)
    params_of(folder)


def test_of_a_models_files_those_are_downloaded_that_are_read():
    both = ["config.json", "pytorch_model.bin", "model.safetensors", "tf_model.h5", "vocab.txt"]
    assert weight_files.to_download(both) == ["model.safetensors"]
    assert weight_files.to_download(both[:2]) == ["pytorch_model.bin"]
    assert weight_files.to_download(both[3:]) == []
    shards = [
        "model-2-of-2.safetensors",
        "model-1-of-2.safetensors",
        "model.safetensors.index.json",
    ]
    found = weight_files.to_download([*shards, "pytorch_model-1-of-1.bin", "README.md"])
    assert found == ["model.safetensors.index.json", *sorted(shards[:2])]


def one_line(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        params_of(folder)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(folder))
    return str(error.value)


def test_an_absent_shard_is_named(tiny_bert, tmp_path):
    folder = folder_with(tiny_bert, to=tmp_path / "model")
    shards_of_safetensors(folder)
    (folder / "model-00002-of-00003.safetensors").unlink()
    message = one_line(folder)
    assert "1 of the 3 files that it names are not beside it" in message
    assert "model-00002-of-00003.safetensors" in message


@pytest.mark.parametrize("file", ["../outside.safetensors", "/outside.safetensors"])
def test_an_index_leads_nowhere_else(tiny_bert, tmp_path, file):
    folder = folder_with(tiny_bert, to=tmp_path / "model")
    shutil.copy(Path(tiny_bert) / "model.safetensors", tmp_path / "outside.safetensors")
    names = load_file(tmp_path / "outside.safetensors")
    put_index(folder, "model.safetensors", weight_map=dict.fromkeys(names, file))
    assert "1 of the 1 files that it names are not beside it" in one_line(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_one_line(tiny_bert, tmp_path, content):
    folder = folder_with(tiny_bert, to=tmp_path / "model")
    (folder / "pytorch_model.bin.index.json").write_text(content)
    assert "expected the index of weights in several files" in one_line(folder)


def test_a_shard_that_its_index_is_wrong_about_leaves_parameters_missing(tiny_bert, tmp_path):
    folder = folder_with(tiny_bert, to=tmp_path / "model")
    put(folder, pytorch_model="tiny_bert.first.bin")
    assert "parameters are missing (" in one_line(folder)


@pytest.mark.parametrize("name", weight_files.SINGLE_FILES)
def test_a_pointer_of_git_lfs_is_told_from_weights(tiny_bert, tmp_path, name):
    folder = folder_with(tiny_bert, to=tmp_path / "model")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "a pointer of Git LFS, not the weights; run git lfs pull" in one_line(folder)
