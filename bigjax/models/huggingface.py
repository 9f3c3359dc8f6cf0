"""Owns reading a Hugging Face folder of the BERT family into `bert.Encoder`'s sizes and params, the
one table of names for it, and what such a folder holds of an encoder of ours.

Its tokenizer is read by `data/text/tokenizer_files.py`, arrays from files by `weight_files.py`.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.errors import UserError, first_of, nearest
from bigjax.models import bert, weight_files
from bigjax.trees import leaf_names


class Family(NamedTuple):
    """How one model type names things.

    prefix: what the encoder's names begin with in a model that has a head.
    position_offset: the row of the table of positions that position 0 has.
    layer: where its layer i lies.
    inside, outside: our modules and theirs, those of a layer and the others.
    sizes: our sizes and theirs, as `config.json` states them.
    """

    prefix: str
    position_offset: int
    layer: str
    inside: Mapping[str, str]
    outside: Mapping[str, str]
    sizes: Mapping[str, str]


class Head(NamedTuple):
    """A linear layer over last hidden states that tags tokens.

    kernel: float32 (D, T). bias: float32 (T,). labels: the T names, in order.
    """

    kernel: np.ndarray
    bias: np.ndarray
    labels: tuple[str, ...]


_EMBEDDINGS = {
    "word": "embeddings.word_embeddings",
    "position": "embeddings.position_embeddings",
    "token_type": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
_SIZES = {
    "vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "num_heads": "num_attention_heads",
    "mlp_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "num_token_types": "type_vocab_size",
    "activation": "hidden_act",
    "norm_eps": "layer_norm_eps",
}
_BERT = Family(
    prefix="bert.",
    position_offset=0,
    layer="encoder.layer.{i}",
    inside={
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "mlp_norm": "output.LayerNorm",
    },
    outside=_EMBEDDINGS,
    sizes=_SIZES,
)
_DISTILBERT = Family(
    prefix="distilbert.",
    position_offset=0,
    layer="transformer.layer.{i}",
    inside={
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "out": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "up": "ffn.lin1",
        "down": "ffn.lin2",
        "mlp_norm": "output_layer_norm",
    },
    outside=_EMBEDDINGS,
    sizes={
        **_SIZES,
        "num_layers": "n_layers",
        "hidden_size": "dim",
        "num_heads": "n_heads",
        "mlp_size": "hidden_dim",
        "activation": "activation",
    },
)
_ELECTRA = _BERT._replace(
    prefix="electra.",
    outside={**_EMBEDDINGS, "project": "embeddings_project"},
    sizes={**_SIZES, "embedding_size": "embedding_size"},
)
_ROBERTA = _BERT._replace(prefix="roberta.", position_offset=2)
FAMILIES = {
    "bert": _BERT,
    "electra": _ELECTRA,
    "distilbert": _DISTILBERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
}
HEAD = "classifier"  # of every family's model for token classification
# What a config.json without a model_type, as some of 2019 are, calls its architecture.
_ARCHITECTURES = {
    "Bert": "bert",
    "Electra": "electra",
    "DistilBert": "distilbert",
    "Roberta": "roberta",
    "XLMRoberta": "xlm-roberta",
    "Camembert": "camembert",
}


def read_sizes(folder: str) -> bert.Sizes:
    """The sizes that the folder's `config.json` states.

    Raises:
      UserError: no such file, or a model that this encoder cannot reproduce; names the setting.
    """
    config = _read_config(folder)
    where = os.path.join(folder, "config.json")
    family = FAMILIES[_model_type(config, folder=folder)]
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f"{where}: position_embedding_type={config['position_embedding_type']!r}; "
            "expected 'absolute': relative positions are not supported"
        )
    names = {ours: name for ours, name in family.sizes.items() if ours != "embedding_size"}
    stated = {"type_vocab_size": 0, "layer_norm_eps": 1e-12, **config}
    try:
        found = {ours: stated[theirs] for ours, theirs in names.items()}
    except KeyError as error:
        raise UserError(
            f"{where}: sizes are missing ({error}); expected those of a BERT model"
        ) from None
    sizes = bert.Sizes(position_offset=family.position_offset, **found)
    if sizes.activation not in bert.ACTIVATIONS:
        hint = nearest(sizes.activation, bert.ACTIVATIONS)
        raise UserError(f"{where}: activation {sizes.activation!r} is not supported; {hint}")
    embedding_size = config.get("embedding_size", sizes.hidden_size)
    if embedding_size == sizes.hidden_size:
        return sizes
    if "project" not in family.outside:
        raise UserError(
            f"{where}: embedding_size={embedding_size} differs from hidden_size="
            f"{sizes.hidden_size}; only ELECTRA has a projection between them"
        )
    return dataclasses.replace(sizes, embedding_size=embedding_size)


def read_model_type(folder: str) -> str:
    """Which of `FAMILIES` the folder is of; UserError where it is of none."""
    return _model_type(_read_config(folder), folder=folder)


def model_type_of(sizes: bert.Sizes) -> str:
    """The plainest of `FAMILIES` that computes what an encoder of these sizes computes."""
    if sizes.position_offset:
        return "roberta"
    if not sizes.num_token_types:
        return "distilbert"
    return "bert" if sizes.embedding_size is None else "electra"


def architecture(model_type: str, task: str) -> str:
    """The name of transformers' class: "BertForTokenClassification"."""
    found = {ours: name for name, ours in _ARCHITECTURES.items()}
    return found[model_type] + task


def config_of(sizes: bert.Sizes, *, model_type: str) -> dict[str, Any]:
    """What `config.json` states of an encoder of these sizes: what `read_sizes` reads."""
    family = FAMILIES[model_type]
    stated = {theirs: getattr(sizes, ours) for ours, theirs in family.sizes.items()}
    if "embedding_size" in stated and sizes.embedding_size is None:
        stated["embedding_size"] = sizes.hidden_size
    # transformers counts RoBERTa's positions from the padding's id.
    pad = {"pad_token_id": sizes.position_offset - 1} if sizes.position_offset else {}
    return {"model_type": model_type, **stated, **pad}


def arrays_of(params: Mapping[str, Any], *, model_type: str) -> dict[str, np.ndarray]:
    """The encoder's params, layers as `layer_0`, `layer_1`, ..., under their names and as they lie
    there, in a model with a head: what `read_params` reads, to the bit."""
    family = FAMILIES[model_type]
    return {
        family.prefix + their_name(ours, family=family): as_theirs(ours, array)
        for ours, array in zip(leaf_names(params), jax.tree.leaves(params))
    }


def as_theirs(ours: str, array: np.ndarray) -> np.ndarray:
    """A parameter as PyTorch has it: a kernel (in, out) as a weight (out, in)."""
    return np.ascontiguousarray(array.T if ours.endswith("kernel") else array, np.float32)


def read_params(folder: str, *, sizes: bert.Sizes) -> dict[str, Any]:
    """The encoder's params, float32 numpy, layers as `layer_0`, `layer_1`, ... (kernels are
    transposed to (in, out)). Parameters of heads and poolers are left out.

    Raises:
      UserError: no weights that can be read, parameters missing from them or of other shapes than
        `config.json` makes them; names them.
    """
    family = FAMILIES[read_model_type(folder)]
    shapes = _shapes(sizes)
    spellings = {ours: list(_spellings(ours, family=family)) for ours in shapes}
    weights = weight_files.read(
        folder, names={name for found in spellings.values() for name in found}
    )
    params: dict[str, Any] = {}
    missing, misshapen = [], []
    for ours, shape in shapes.items():
        theirs = next((name for name in spellings[ours] if name in weights.arrays), None)
        if theirs is None:
            missing.append(ours)
            continue
        value = weights.arrays[theirs]
        value = value.T if ours.endswith("kernel") else value
        if value.shape != shape:
            misshapen.append(f"{ours} {value.shape}, expected {shape}")
            continue
        *scope, leaf = ours.split("/")
        node = params
        for key in scope:
            node = node.setdefault(key, {})
        node[leaf] = np.asarray(value, np.float32)
    if missing:
        shown = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"{weights.path}: {len(missing)} parameters are missing ({shown}); expected a whole "
            f"encoder of {sizes.num_layers} layers"
        )
    if misshapen:
        raise UserError(
            f"{weights.path}: {len(misshapen)} parameters have other shapes than config.json says "
            f"({first_of(misshapen)}); they do not belong together"
        )
    return params


def read_head(folder: str) -> Head | None:
    """The folder's head for token classification; None where it has none, or one whose labels have
    no names ("LABEL_0", ...).

    Raises:
      UserError: weights that cannot be read, or as many labels as the head has not.
    """
    config = _read_config(folder)
    architectures = config.get("architectures") or ["ForTokenClassification"]
    labels = config.get("id2label") or {}
    if not any(name.endswith("ForTokenClassification") for name in architectures):
        return None  # a head over whole texts has the same names
    names = f"{HEAD}.weight", f"{HEAD}.bias"
    arrays, path = weight_files.read(folder, names=names)
    if len(arrays) < 2 or all(label == f"LABEL_{number}" for number, label in labels.items()):
        return None
    kernel_DT, bias_T = (np.asarray(arrays[name].T, np.float32) for name in names)
    if kernel_DT.shape[1:] != bias_T.shape or {*labels} != {*map(str, range(len(bias_T)))}:
        raise UserError(
            f"{path}: its head has {bias_T.size} rows, and id2label of config.json names "
            f"{len(labels)} labels; they do not belong together"
        )
    return Head(kernel_DT, bias_T, tuple(labels[str(i)] for i in range(len(bias_T))))


def stack_layers(params: dict[str, Any], *, num_layers: int) -> dict[str, Any]:
    """`layer_0`, `layer_1`, ... as one `layers` with a leading dimension, for scanned layers."""
    layers = [params[f"layer_{i}"] for i in range(num_layers)]
    rest = {name: value for name, value in params.items() if not name.startswith("layer_")}
    return rest | {"layers": jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}


def unstack_layers(params: dict[str, Any], *, num_layers: int) -> dict[str, Any]:
    """What `stack_layers` has stacked, as it was."""
    rest = {name: value for name, value in params.items() if name != "layers"}
    layers = {
        f"layer_{i}": jax.tree.map(lambda leaf, i=i: leaf[i], params["layers"])
        for i in range(num_layers)
    }
    return rest | layers


def their_name(ours: str, *, family: Family) -> str:
    """`layer_3/down/kernel` as `encoder.layer.3.output.dense.weight`, without the prefix."""
    *layer, module, leaf = ours.split("/")
    leaf = "bias" if leaf == "bias" else "weight"
    if not layer:
        return f"{family.outside[module]}.{leaf}"
    where = family.layer.format(i=layer[0].removeprefix("layer_"))
    return f"{where}.{family.inside[module]}.{leaf}"


def _spellings(ours: str, *, family: Family) -> Iterator[str]:
    """Every name that a checkpoint may have for a parameter of ours, the most usual first."""
    theirs = their_name(ours, family=family)
    names = [theirs]
    if ours.endswith(("norm/scale", "norm/bias")):  # as converted from TensorFlow
        names.append(theirs.removesuffix("weight").removesuffix("bias"))
        names[1] += "gamma" if ours.endswith("scale") else "beta"
    for name in names:
        yield family.prefix + name
        yield name


def _shapes(sizes: bert.Sizes) -> dict[str, tuple[int, ...]]:
    """Every parameter of an encoder of these sizes, and its shape."""
    zeros = jnp.zeros((1, 8), jnp.int32)
    one = bert.Encoder(dataclasses.replace(sizes, num_layers=1), bert.Compute())
    init = lambda: one.init(  # noqa: E731
        jax.random.key(0), zeros, segments_BL=zeros, positions_BL=zeros
    )
    params = nn.meta.unbox(jax.eval_shape(init))["params"]
    shapes = {name: x.shape for name, x in zip(leaf_names(params), jax.tree.leaves(params))}
    first = {name: shape for name, shape in shapes.items() if name.startswith("layer_0/")}
    for i in range(1, sizes.num_layers):
        shapes |= {name.replace("layer_0", f"layer_{i}"): shape for name, shape in first.items()}
    return shapes


def _read_config(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: expected the config.json of a Hugging Face model: {error}"
        ) from None


def _model_type(config: dict[str, Any], *, folder: str) -> str:
    model_type = str(config.get("model_type"))
    if "model_type" not in config:
        architecture = str((config.get("architectures") or [""])[0]).partition("For")[0]
        model_type = _ARCHITECTURES.get(architecture.removesuffix("Model"), model_type)
        if not architecture and os.path.isfile(os.path.join(folder, "vocab.txt")):
            model_type = "bert"  # the config.json that Google released with it
    if model_type not in FAMILIES:
        raise UserError(
            f"{os.path.join(folder, 'config.json')}: model_type {model_type!r} is not of the BERT "
            f"family; {nearest(model_type, FAMILIES)}"
        )
    return model_type
