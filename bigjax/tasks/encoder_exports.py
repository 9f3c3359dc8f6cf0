"""Owns what all models on text have in common when they leave the program: the arrays that go in,
one text a row, how an encoder's parameters lie, and the files that transformers reads.

What comes out, and the head, belong to the tasks.
"""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.data.dataset import Dataset
from bigjax.data.text.tokenization import special_tokens, unknown_token
from bigjax.data.text.windowing import Windows
from bigjax.models import huggingface
from bigjax.tasks.encoders import TOKENIZER_FILE, Encoder
from bigjax.tasks.portable import Input

BUCKETS = {"batch": (1, 8), "length": (32, 128)}  # and the longest length that the model knows
WIDTH = 16  # widths of batches are multiples of it, so that few are to be compiled
DIMS = ("batch", "length")


def common(encoder: Encoder) -> dict[str, Any]:
    """What of a `Portable` follows from the encoder."""
    longest = encoder.longest
    lengths = sorted({longest, *(n for n in BUCKETS["length"] if n < longest)})
    return {
        "inputs": {"tokens": Input(DIMS, "int32"), "mask": Input(DIMS, "bool")},
        "limits": {"length": longest},
        "buckets": [{"batch": b, "length": n} for b in BUCKETS["batch"] for n in lengths],
        "params": lambda variables: plain_params(variables, num_layers=encoder.sizes.num_layers),
        "imports": "from tokenizers import Tokenizer\n",
    }


def batch_of(inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """A batch, one text a row, of tokens int32 and mask bool (B, L)."""
    tokens_BL = inputs["tokens"]
    return {
        "tokens": tokens_BL,
        "segments": inputs["mask"].astype(jnp.int32),
        "positions": jax.lax.broadcasted_iota(jnp.int32, tokens_BL.shape, 1),
    }


def inputs_of(data: Dataset) -> list[dict[str, np.ndarray]]:
    """All rows of a data set, a window in each, as the arrays that go in."""

    def inputs(begin: int) -> dict[str, np.ndarray]:
        found = data.rows(np.arange(begin, min(begin + data.batch_rows, data.num_rows)))
        mask = found["segments"] > 0
        width = -(-int(mask.sum(1).max()) // WIDTH) * WIDTH
        return {"tokens": found["tokens"][:, :width], "mask": mask[:, :width]}

    return [inputs(begin) for begin in range(0, data.num_rows, data.batch_rows)]


def is_read_as(windows: Windows, *, number: int, ids: list[int]) -> bool:
    """Whether text `number` is one window of these tokens: one longer than a row is read in windows
    here, and what reads like a special token ("[SEP]") as its letters."""
    first, last = np.searchsorted(windows.sentences, [number, number + 1])
    tokens = windows.tokens[windows.offsets[first] : windows.offsets[first + 1]]
    return last == first + 1 and tokens.tolist() == ids


def facts(encoder: Encoder) -> dict[str, Any]:
    """What `example.py` knows of the encoder."""
    before, after = (ids.tolist() for ids in special_tokens(encoder.tokenizer))
    return {
        "max_tokens": encoder.longest,
        "before": before,
        "after": after,
        "unknown": unknown_token(encoder.tokenizer),
    }


def text(name: str, *, package: str, **parts: str) -> str:
    """A file that lies beside the modules of `package`, in which each line that is a key of `parts`
    is the content of the file that it names."""
    folder = resources.files(package)
    found = folder.joinpath(name).read_text(encoding="utf-8")
    for line, part in parts.items():
        found = found.replace(f"{line}\n", folder.joinpath(part).read_text(encoding="utf-8"))
    return found


def plain_params(variables: Any, *, num_layers: int) -> Any:
    """A model's params, float32 numpy, each layer of its "encoder" by itself."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float32), variables["params"])
    if "layers" in params["encoder"]:
        encoder = huggingface.unstack_layers(params["encoder"], num_layers=num_layers)
        params = {**params, "encoder": encoder}
    return params


# --- as transformers has it ---


def labels(names: Any) -> dict[str, Any]:
    """What `config.json` says of classes or tags."""
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def huggingface_config(encoder: Encoder, *, task: str) -> dict[str, Any]:
    """What `config.json` says of the encoder in a model whose class ends with `task`."""
    special = _special_names(encoder.tokenizer)
    pad = encoder.tokenizer.token_to_id(special["pad_token"]) if "pad_token" in special else 0
    return {
        "architectures": [huggingface.architecture(encoder.family, task)],
        "pad_token_id": pad,
        **huggingface.config_of(encoder.sizes, model_type=encoder.family),
    }


def huggingface_files(encoder: Encoder) -> dict[str, str]:
    """The files of the tokenizer, as transformers' AutoTokenizer loads it."""
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": encoder.longest,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **_special_names(encoder.tokenizer),
    }
    return {
        TOKENIZER_FILE: encoder.tokenizer.to_str(pretty=True),
        "tokenizer_config.json": json.dumps(tokenizer_config, indent=1) + "\n",
    }


def _special_names(tokenizer: Any) -> dict[str, str]:
    """Special tokens as transformers calls them; those that the tokenizer has."""
    before, after = special_tokens(tokenizer)
    name = lambda ids: tokenizer.id_to_token(int(ids[0]))  # noqa: E731
    vocab = tokenizer.get_vocab()
    found = {"cls_token": name(before), "sep_token": name(after)}
    found["unk_token"] = tokenizer.id_to_token(unknown_token(tokenizer))
    others = [("pad_token", "[PAD]"), ("pad_token", "<pad>")]
    others += [("mask_token", "[MASK]"), ("mask_token", "<mask>")]
    return found | {key: token for key, token in others if token in vocab}
