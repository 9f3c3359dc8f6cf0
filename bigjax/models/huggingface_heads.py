"""Owns the heads of Hugging Face models that choose classes of whole texts, as they are named in
each family, and reading one.

Their encoders belong to `huggingface.py`.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.errors import UserError
from bigjax.models import huggingface, ops, weight_files

TASK = "ForSequenceClassification"  # what their classes are called


class Naming(NamedTuple):
    """Of the layer over the first token's hidden state and of the linear one after it, their names;
    activation: between the two."""

    pooler: str
    head: str
    activation: Callable[[jax.Array], jax.Array]


_BERT = Naming("bert.pooler.dense", "classifier", jnp.tanh)
_ROBERTA = Naming("classifier.dense", "classifier.out_proj", jnp.tanh)
NAMES: Mapping[str, Naming] = {
    "bert": _BERT,
    "electra": _ROBERTA._replace(activation=ops.gelu),
    "distilbert": Naming("pre_classifier", "classifier", jax.nn.relu),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
}


class Found(NamedTuple):
    """What a folder has of such a head.

    params: "pooler" and "head", those that are there, each kernel and bias, float32.
    labels: the names of the classes; () where there is no head of this kind.
    multi: whether a text may be of several classes.
    """

    params: dict[str, Any]
    labels: tuple[str, ...]
    multi: bool


def read(folder: str) -> Found:
    """The folder's head; of a BERT without one its pooler, as transformers takes it.

    Raises:
      UserError: weights that cannot be read, as many labels as the head has not, or a head that
        predicts a number.
    """
    naming = NAMES[huggingface.read_model_type(folder)]
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    is_head = any(str(a).endswith(TASK) for a in config.get("architectures") or ())
    wanted = {"pooler": [naming.pooler]}
    if naming.pooler.startswith("bert."):  # a model without a head has it under this name
        wanted["pooler"].append(naming.pooler.removeprefix("bert."))
    elif not is_head:
        return Found({}, (), False)
    if is_head:
        wanted["head"] = [naming.head]
    names = [f"{n}.{leaf}" for of in wanted.values() for n in of for leaf in ("weight", "bias")]
    arrays, path = weight_files.read(folder, names=names)
    params = {}
    for ours, theirs in wanted.items():
        for name in theirs:
            if f"{name}.weight" in arrays and f"{name}.bias" in arrays:
                weight, bias = (arrays[f"{name}.{leaf}"] for leaf in ("weight", "bias"))
                kernel = np.asarray(weight.T, np.float32)
                params[ours] = {"kernel": kernel, "bias": np.asarray(bias, np.float32)}
                break
    if "head" not in params:
        return Found(params, (), False)
    return Found(params, _labels(config, params["head"], path=path), _is_multi(config, path=path))


def _labels(config: Mapping[str, Any], head: Mapping[str, Any], *, path: str) -> tuple[str, ...]:
    num = len(head["bias"])
    named = config.get("id2label") or {str(i): f"LABEL_{i}" for i in range(num)}
    if {*named} != {*map(str, range(num))}:
        raise UserError(
            f"{path}: its head has {num} rows, and id2label of config.json names {len(named)} "
            "labels; they do not belong together"
        )
    return tuple(str(named[str(i)]) for i in range(num))


def _is_multi(config: Mapping[str, Any], *, path: str) -> bool:
    kind = config.get("problem_type")
    if kind == "regression" or (kind is None and config.get("num_labels") == 1):
        raise UserError(f"{path}: its head predicts a number; expected one of classes")
    return kind == "multi_label_classification"


def arrays_of(params: Mapping[str, Any], *, model_type: str) -> dict[str, np.ndarray]:
    """Our "pooler" and "head" under their names and as they lie there."""
    naming = NAMES[model_type]
    return {
        f"{theirs}.{'bias' if leaf == 'bias' else 'weight'}": huggingface.as_theirs(leaf, array)
        for ours, theirs in {"pooler": naming.pooler, "head": naming.head}.items()
        for leaf, array in params[ours].items()
    }
