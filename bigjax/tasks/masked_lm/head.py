"""Owns the parameters of the head: where they start, and what Hugging Face's models call them.

A folder that has no head for masked-language modelling gets a new one that is near to nothing: its
dense layer and norm leave what the encoder says as it is, and its bias says how frequent tokens are
in training. So what was learnt is not thrown about by a head that starts at random.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bigjax.errors import UserError
from bigjax.models import bert, huggingface, weight_files

# gelu(x + SHIFT) is x + SHIFT where x is above -2, and the norm behind it takes SHIFT off again.
SHIFT = 4.0


class Names(NamedTuple):
    """What a family calls the head's modules. decoder: what holds the output table, where it is
    kept. activation: its own, or None for that of the encoder."""

    dense: str
    norm: str
    bias: str
    decoder: str
    activation: str | None = None


_BERT = Names(
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
    "cls.predictions.bias",
    "cls.predictions.decoder",
)
_ROBERTA = Names("lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "lm_head.decoder", "gelu")
NAMES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": Names(
        "vocab_transform", "vocab_layer_norm", "vocab_projector.bias", "vocab_projector"
    ),
    "electra": Names(
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head.bias",
        "generator_lm_head",
        "gelu",
    ),
}


def activation(sizes: bert.Sizes, *, family: str) -> str:
    """What the head's dense layer is followed by."""
    return NAMES[family].activation or sizes.activation


def new(sizes: bert.Sizes, *, counts_V: np.ndarray) -> dict[str, Any]:
    """A head that was never trained, float32.

    Args:
      counts_V: how often each token occurs in training.
    """
    log_probs = np.log(counts_V + 1.0)  # as if each had been seen once more
    head: dict[str, Any] = {"bias": (log_probs - log_probs.mean()).astype(np.float32)}
    width = sizes.embedding_size or sizes.hidden_size
    head["norm"] = {"scale": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}
    if width == sizes.hidden_size:
        size = sizes.hidden_size
        kernel, bias = np.eye(size, dtype=np.float32), np.full(size, SHIFT, np.float32)
        head["dense"] = {"kernel": kernel, "bias": bias}
    return head


def read(folder: str, *, sizes: bert.Sizes, family: str) -> dict[str, Any] | None:
    """The head of a Hugging Face folder, float32; None where it has none.

    Raises:
      UserError: weights that cannot be read, or are another's; an output table of its own.
    """
    names = NAMES[family]
    ours = their_names(names)
    table = f"{huggingface.FAMILIES[family].prefix}embeddings.word_embeddings.weight"
    decoder = f"{names.decoder}.weight"
    old = {f"{names.norm}.gamma": "norm/scale", f"{names.norm}.beta": "norm/bias"}  # TensorFlow's
    arrays, path = weight_files.read(folder, names={*ours, *old, decoder, table})
    found = {(ours | old)[name]: x for name, x in arrays.items() if name in ours | old}
    if not found:
        return None
    if decoder in arrays and not np.array_equal(arrays[decoder], arrays.get(table)):
        raise UserError(
            f"{path}: {decoder} is not its table of input embeddings; expected one table for both"
        )
    width = sizes.embedding_size or sizes.hidden_size
    shapes = {
        "dense/kernel": (sizes.hidden_size, width), "dense/bias": (width,),
        "norm/scale": (width,), "norm/bias": (width,), "bias": (sizes.vocab_size,),
    }  # fmt: skip
    head: dict[str, Any] = {}
    for name, shape in shapes.items():
        value = found.get(name)
        if value is None:
            raise UserError(f"{path}: its head for masked-language modelling has no {name}")
        value = np.asarray(value.T if name.endswith("kernel") else value, np.float32)
        if value.shape != shape:
            raise UserError(f"{path}: {name} of its head is {value.shape}, expected {shape}")
        *scope, leaf = name.split("/")
        (head.setdefault(scope[0], {}) if scope else head)[leaf] = value
    return head


def arrays_of(head: Mapping[str, Any], *, family: str) -> dict[str, np.ndarray]:
    """The head's parameters under their names and as they lie there, as `read` reads them."""
    found = {}
    for theirs, ours in their_names(NAMES[family]).items():
        *scope, leaf = ours.split("/")
        found[theirs] = huggingface.as_theirs(ours, (head[scope[0]] if scope else head)[leaf])
    return found


def their_names(names: Names) -> dict[str, str]:
    """Theirs to ours."""
    return {
        f"{names.dense}.weight": "dense/kernel",
        f"{names.dense}.bias": "dense/bias",
        f"{names.norm}.weight": "norm/scale",
        f"{names.norm}.bias": "norm/bias",
        names.bias: "bias",
    }


def has_one(folder: str) -> bool:
    """Whether a run in `folder` was of masked-language modelling."""
    return os.path.exists(os.path.join(folder, FILE))


FILE = "masked_lm.json"  # in the run folder
