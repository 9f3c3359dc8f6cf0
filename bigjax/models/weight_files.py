"""Owns which files of a Hugging Face folder hold its weights, one or several, and reading arrays
from them by name. What the names mean belongs to `huggingface.py`, PyTorch's own format to
`torch_files.py`.
"""

import json
import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np

from bigjax.errors import UserError, first_of
from bigjax.models import torch_files

# The first that is there is read, as transformers does. Of weights in several files ("shards") the
# index, a file of this name and ".index.json", says which array is in which.
SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")


class Weights(NamedTuple):
    """arrays: by their names in the files, not all of them float32.
    path: the file, or the index of several, for messages."""

    arrays: dict[str, np.ndarray]
    path: str


def read(folder: str, *, names: Collection[str]) -> Weights:
    """Those of the arrays `names` that are there.

    Raises:
      UserError: no weights in the folder, a shard that is absent, or a file that cannot be read.
    """
    for name in SINGLE_FILES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return Weights(_read_file(path, names=names), path)
        path += ".index.json"
        if os.path.isfile(path):
            arrays: dict[str, np.ndarray] = {}
            for shard in _shards(path, names=names):
                arrays |= _read_file(shard, names=names)
            return Weights(arrays, path)
    raise UserError(
        f"{folder}: no {' or '.join(SINGLE_FILES)}, nor the index of several; expected a Hugging "
        "Face folder with weights of PyTorch (transformers' save_pretrained writes them)"
    )


def to_download(available: Iterable[str]) -> list[str]:
    """Of the names of a model's files those that hold its weights: what `read` would read."""
    available = sorted(available)
    for name in SINGLE_FILES:
        stem, ending = os.path.splitext(name)
        if name in available:
            return [name]
        if name + ".index.json" in available:
            shards = [a for a in available if a.startswith(f"{stem}-") and a.endswith(ending)]
            return [name + ".index.json", *shards]
    return []


def _shards(index: str, *, names: Collection[str]) -> list[str]:
    """The files that the index names for the arrays `names`."""
    try:
        with open(index, encoding="utf-8") as file:
            file_of = {str(k): str(v) for k, v in json.load(file)["weight_map"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{index}: expected the index of weights in several files, a weight_map ({error!r})"
        ) from None
    found = sorted({file for name, file in file_of.items() if name in names})
    absent = [
        name
        for name in found
        # A name with folders in it would leave the model's own.
        if os.path.basename(name) != name
        or not os.path.isfile(os.path.join(os.path.dirname(index), name))
    ]
    if absent:
        raise UserError(
            f"{index}: {len(absent)} of the {len(found)} files that it names are not beside it "
            f"({first_of(absent)}); copy or download them"
        )
    return [os.path.join(os.path.dirname(index), name) for name in found]


def _read_file(path: str, *, names: Collection[str]) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        if file.read(16).startswith(b"version https://"):
            raise UserError(f"{path}: is a pointer of Git LFS, not the weights; run git lfs pull")
    return (_read_safetensors if path.endswith(".safetensors") else torch_files.read)(
        path, names=names
    )


def _read_safetensors(path: str, *, names: Collection[str]) -> dict[str, np.ndarray]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            there = set(file.keys())
            return {name: file.get_tensor(name) for name in names if name in there}
    except Exception as error:  # safetensors raises its own and bare types alike
        raise UserError(f"{path}: cannot be read ({error}); copy or download it again") from error
