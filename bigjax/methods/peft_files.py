"""Owns adapters as the `peft` library keeps them: a folder of `adapter_config.json` and
`adapter_model.safetensors`, whose names are those of the model as transformers has it.

What these are for a model of ours is found by asking its task (`Portable.huggingface`).
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors.numpy import load_file

from bigjax.errors import UserError, first_of
from bigjax.methods.lora_files import A, B
from bigjax.tasks.portable import Folder, Portable
from bigjax.trees import flatten, nested

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_LEAVES = {A: "lora_A.weight", B: "lora_B.weight"}
# What changes the function that adapters are, and what it has to be here.
_PLAIN = {
    "peft_type": "LORA", "use_dora": False, "use_rslora": False, "fan_in_fan_out": False,
    "bias": "none", "rank_pattern": {}, "alpha_pattern": {}, "lora_bias": False,
}  # fmt: skip
_TASK_TYPES = {"ForTokenClassification": "TOKEN_CLS", "ForSequenceClassification": "SEQ_CLS"}


class Adapted(NamedTuple):
    """A model with adapters, layers each by itself, numpy.

    params: adapters, and what was trained in full. base: the rest.
    source: name or folder of the Hugging Face model that the base is; None where it is none.
    revision: of that name on the hub.
    """

    params: Any
    base: Any
    rank: int
    alpha: float
    source: str | None = None
    revision: str | None = None


def their_names(portable: Portable, params: Any) -> dict[str, str]:
    """Name of each parameter of a whole model (`Portable.params`) -> transformers' name, where it
    has one: found by arrays that are each filled with a number of their own."""
    marks = {name: 1000.5 + i for i, name in enumerate(flatten(params))}
    filled = {
        name: np.full(x.shape, marks[name], np.float32) for name, x in flatten(params).items()
    }
    ours = {mark: name for name, mark in marks.items()}
    theirs = portable.huggingface(nested(filled)).arrays
    return {
        ours[float(x.flat[0])]: name
        for name, x in theirs.items()
        if x.size and float(x.flat[0]) in ours and x.min() == x.max()
    }


def arrays_of(adapted: Adapted, *, names: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What `adapter_model.safetensors` holds, and the modules in it that were trained in full.

    Raises:
      UserError: something was trained that transformers has no name for.
    """
    found, modules = {}, set()
    for name, x in flatten(adapted.params).items():
        module, _, leaf = name.rpartition("/")
        theirs = names.get(f"{module}/kernel" if leaf in _LEAVES else name)
        if theirs is None:
            raise UserError(
                f"--format=peft: {name} was trained, and transformers has no name for it; "
                "--format=huggingface exports the whole model"
            )
        if leaf in _LEAVES:
            found[f"{_PREFIX}{theirs.removesuffix('weight')}{_LEAVES[leaf]}"] = x.T
        else:
            modules.add(theirs.rpartition(".")[0])
            found[_PREFIX + theirs] = x.T if leaf == "kernel" else x
    return {name: np.ascontiguousarray(x, np.float32) for name, x in found.items()}, sorted(modules)


def config_of(
    adapted: Adapted, folder: Folder, *, arrays: Sequence[str], modules: Sequence[str], base: str
) -> dict[str, Any]:
    """What `adapter_config.json` says. base: where the base is found."""
    named, ending = folder.config["architectures"][0], f".{_LEAVES[A]}"
    targets = [n.removeprefix(_PREFIX).removesuffix(ending) for n in arrays if n.endswith(ending)]
    return {
        **_PLAIN,
        "task_type": next((kind for end, kind in _TASK_TYPES.items() if named.endswith(end)), None),
        "base_model_name_or_path": base,
        "revision": adapted.revision,
        "r": adapted.rank,
        "lora_alpha": adapted.alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(targets),
        "modules_to_save": list(modules),
        "inference_mode": True,
    }


def read(
    folder: str, portable: Portable, *, whole: Any, wanted: Any, rank: int, alpha: float
) -> tuple[dict[str, Any], str]:
    """Adapters, and what of the rest is there, as params of `wanted`; and what is to be said of it.

    Args:
      whole: params of the model without adapters, shapes. wanted: those that are trained, shapes.
    Raises:
      UserError: no such files, or adapters of other kernels, another kind or another size.
    """
    arrays, settings = _files(folder)
    expected = {**_PLAIN, "r": rank, "lora_alpha": alpha}
    differ = {k: settings[k] for k in expected if settings.get(k) not in (None, expected[k])}
    if differ:
        name, value = next(iter(differ.items()))
        raise UserError(
            f"lora.adapters={folder}: its {name} is {value!r}, and this run's {expected[name]!r}; "
            "expected plain LoRA with lora.rank and lora.alpha as its r and lora_alpha"
        )
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), whole)
    plain = portable.params({"params": zeros})
    theirs = their_names(portable, plain)
    left, found, missing = set(arrays), {}, []

    def one(name: str) -> np.ndarray | None:
        module, _, leaf = name.rpartition("/")
        named = theirs.get(f"{module}/kernel" if leaf in _LEAVES else name, "")
        key = _PREFIX + named
        if leaf in _LEAVES:
            key = f"{key.removesuffix('weight')}{_LEAVES[leaf]}"
        left.discard(key)
        array = arrays.get(key)
        return array.T if array is not None and leaf in (*_LEAVES, "kernel") else array

    for name, like in flatten(wanted).items():
        array = _stacked(name, like, one) if "/layers/" in name else one(name)
        if array is not None and array.shape == like.shape:
            found[name] = np.asarray(array, np.float32)
        elif name.endswith((A, B)):
            missing.append(name)
    others = sorted(name for name in left if "lora_" in name)
    if missing or others:
        what = f"has none for {first_of(missing)}" if missing else f"has {first_of(others)}"
        raise UserError(
            f"lora.adapters={folder}: {what}; expected adapters of the kernels that lora.rules "
            "choose, and of their sizes"
        )
    return found, f"lora.adapters={folder}: {len(found)} of {len(flatten(wanted))} arrays"


def _stacked(name: str, like: Any, one: Callable[[str], Any]) -> Any:
    """Of scanned layers."""
    parts = [one(name.replace("/layers/", f"/layer_{i}/")) for i in range(like.shape[0])]
    return None if any(part is None for part in parts) else np.stack(parts)


def _files(folder: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    path = os.path.expanduser(folder)
    try:
        with open(os.path.join(path, CONFIG), encoding="utf-8") as file:
            settings = dict(json.load(file))
        return load_file(os.path.join(path, WEIGHTS)), settings
    except Exception as error:  # safetensors raises its own
        raise UserError(
            f"lora.adapters={folder}: cannot be read ({error}); expected the folder of adapters as "
            f"peft saves it: {CONFIG} and {WEIGHTS}"
        ) from error
