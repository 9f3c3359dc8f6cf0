"""Owns reading a Hugging Face folder of the BERT family into `bert.Encoder`'s sizes and params.

The tokenizer of the folder is read by `data/text.py`.
"""

import json
import os
import re
from typing import Any, NamedTuple

import numpy as np

from bigjax.errors import UserError, nearest
from bigjax.models import bert


class Family(NamedTuple):
    """How one model type names things: prefix of the encoder, and regexes from its names to ours
    (`{i}` is the layer's number)."""

    prefix: str
    position_offset: int
    names: tuple[tuple[str, str], ...]


def _bert_names(layer: str = r"encoder\.layer\.(\d+)") -> tuple[tuple[str, str], ...]:
    inside = {
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "out",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "up",
        "output.dense": "down",
        "output.LayerNorm": "mlp_norm",
    }
    outside = {
        "embeddings.word_embeddings": "word",
        "embeddings.position_embeddings": "position",
        "embeddings.token_type_embeddings": "token_type",
        "embeddings.LayerNorm": "norm",
    }
    return (
        *(
            (rf"{layer}\.{re.escape(theirs)}", "layer_{i}/" + ours)
            for theirs, ours in inside.items()
        ),
        *((re.escape(theirs), ours) for theirs, ours in outside.items()),
    )


def _distilbert_names() -> tuple[tuple[str, str], ...]:
    inside = {
        "attention.q_lin": "query",
        "attention.k_lin": "key",
        "attention.v_lin": "value",
        "attention.out_lin": "out",
        "sa_layer_norm": "attention_norm",
        "ffn.lin1": "up",
        "ffn.lin2": "down",
        "output_layer_norm": "mlp_norm",
    }
    layer = r"transformer\.layer\.(\d+)"
    return (
        *(
            (rf"{layer}\.{re.escape(theirs)}", "layer_{i}/" + ours)
            for theirs, ours in inside.items()
        ),
        *_bert_names()[-4:],
    )


FAMILIES = {
    "bert": Family("bert.", 0, _bert_names()),
    "electra": Family("electra.", 0, _bert_names()),
    "distilbert": Family("distilbert.", 0, _distilbert_names()),
    **{
        name: Family("roberta.", 2, _bert_names())
        for name in ("roberta", "xlm-roberta", "camembert")
    },
}


def read_sizes(folder: str) -> bert.Sizes:
    """The sizes that the folder's `config.json` states.

    Raises:
      UserError: no such file, or a model that this encoder cannot reproduce; names the setting.
    """
    config = _read_config(folder)
    where = os.path.join(folder, "config.json")
    family = _family(config, where=where)
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f"{where}: position_embedding_type={config['position_embedding_type']!r}; "
            "expected 'absolute': relative positions are not supported"
        )
    # DistilBERT has its own names for the same things.
    get = lambda *names: next(config[name] for name in names if name in config)  # noqa: E731
    try:
        sizes = bert.Sizes(
            vocab_size=get("vocab_size"),
            num_layers=get("num_hidden_layers", "n_layers"),
            hidden_size=get("hidden_size", "dim"),
            num_heads=get("num_attention_heads", "n_heads"),
            mlp_size=get("intermediate_size", "hidden_dim"),
            max_positions=get("max_position_embeddings"),
            position_offset=family.position_offset,
            num_token_types=config.get("type_vocab_size", 0),
            activation=get("hidden_act", "activation"),
            norm_eps=config.get("layer_norm_eps", 1e-12),
        )
    except StopIteration:
        raise UserError(f"{where}: sizes are missing; expected those of a BERT model") from None
    if sizes.activation not in bert.ACTIVATIONS:
        hint = nearest(sizes.activation, bert.ACTIVATIONS)
        raise UserError(f"{where}: activation {sizes.activation!r} is not supported; {hint}")
    if config.get("embedding_size", sizes.hidden_size) != sizes.hidden_size:
        raise UserError(
            f"{where}: embedding_size={config['embedding_size']} differs from hidden_size="
            f"{sizes.hidden_size}; a projection between them is not supported"
        )
    return sizes


def read_params(folder: str, *, sizes: bert.Sizes) -> dict[str, Any]:
    """The encoder's params, float32 numpy, layers as `layer_0`, `layer_1`, ... (kernels are
    transposed to (in, out)). Parameters of heads and poolers are left out.

    Raises:
      UserError: no `model.safetensors`, or parameters missing from it; names them.
    """
    from safetensors.numpy import load_file

    path = os.path.join(folder, "model.safetensors")
    if not os.path.isfile(path):
        raise UserError(
            f"{folder}: no model.safetensors; expected a Hugging Face folder with weights in "
            "safetensors (transformers' save_pretrained writes them)"
        )
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises its own and bare types alike
        raise UserError(f"{path}: cannot be read ({error}); copy or download it again") from error

    family = _family(_read_config(folder), where=folder)
    missing = _all_names(family.names, sizes=sizes)
    params: dict[str, Any] = {}
    for name, value in tensors.items():
        ours = _our_name(name.removeprefix(family.prefix), names=family.names)
        if ours in missing:
            missing.remove(ours)
            *scope, leaf = ours.split("/")
            node = params
            for key in scope:
                node = node.setdefault(key, {})
            node[leaf] = np.asarray(value.T if leaf == "kernel" else value, np.float32)
    if missing:
        shown = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"{path}: {len(missing)} parameters are missing ({shown}); expected a whole encoder of "
            f"{sizes.num_layers} layers"
        )
    return params


def stack_layers(params: dict[str, Any], *, num_layers: int) -> dict[str, Any]:
    """`layer_0`, `layer_1`, ... as one `layers` with a leading dimension, for scanned layers."""
    import jax

    layers = [params[f"layer_{i}"] for i in range(num_layers)]
    rest = {name: value for name, value in params.items() if not name.startswith("layer_")}
    return rest | {"layers": jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}


def unstack_layers(params: dict[str, Any], *, num_layers: int) -> dict[str, Any]:
    """What `stack_layers` has stacked, as it was."""
    import jax

    rest = {name: value for name, value in params.items() if name != "layers"}
    layers = {
        f"layer_{i}": jax.tree.map(lambda leaf, i=i: leaf[i], params["layers"])
        for i in range(num_layers)
    }
    return rest | layers


def _our_name(name: str, *, names: tuple[tuple[str, str], ...]) -> str | None:
    """`encoder.layer.3.output.dense.weight` as `layer_3/down/kernel`; None for what is not ours."""
    module, _, leaf = name.rpartition(".")
    # Checkpoints converted from TensorFlow call the norm's scale and bias gamma and beta.
    leaf = {"gamma": "weight", "beta": "bias"}.get(leaf, leaf)
    for theirs, ours in names:
        match = re.fullmatch(theirs, module)
        if match:
            ours = ours.format(i=match.group(1)) if match.groups() else ours
            return f"{ours}/{_leaves(ours)[0] if leaf == 'weight' else leaf}"
    return None


def _all_names(names: tuple[tuple[str, str], ...], *, sizes: bert.Sizes) -> set[str]:
    """Every parameter of an encoder of these sizes."""
    modules = {ours.format(i=i) for _, ours in names for i in range(sizes.num_layers)}
    if not sizes.num_token_types:
        modules.remove("token_type")
    return {f"{module}/{leaf}" for module in modules for leaf in _leaves(module)}


def _leaves(module: str) -> tuple[str, ...]:
    """The names of a module's parameters, its weight first."""
    if module in ("word", "position", "token_type"):
        return ("embedding",)
    return ("scale" if module.endswith("norm") else "kernel", "bias")


def _read_config(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: expected the config.json of a Hugging Face model: {error}"
        ) from None


def _family(config: dict[str, Any], *, where: str) -> Family:
    model_type = str(config.get("model_type"))
    if model_type not in FAMILIES:
        raise UserError(
            f"{where}: model_type {model_type!r} is not of the BERT family; "
            f"{nearest(model_type, FAMILIES)}"
        )
    return FAMILIES[model_type]
