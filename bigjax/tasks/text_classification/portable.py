"""Owns a classifier of texts as it leaves the program: tokens and mask to logits, one text a row,
and the folder that transformers loads as a model for sequence classification."""

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.data.text import packing
from bigjax.data.text.sentences import with_classes
from bigjax.data.text.tokenization import special_tokens, unknown_token
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, huggingface_heads, ops
from bigjax.tasks import encoders
from bigjax.tasks.encoders import Encoder
from bigjax.tasks.portable import Folder, Input, Portable, Samples
from bigjax.tasks.text_classification import multi, rows, scoring, use
from bigjax.tasks.text_classification.model import Classifier
from bigjax.tasks.text_classification.rows import Split

BATCH_ROWS = 32
BUCKETS = {"batch": (1, 8), "length": (32, 128)}  # and the longest length that the model knows
WIDTH = 16  # widths of batches are multiples of it, so that few are to be compiled
LABELS_FILE = "labels.json"


class Trained(NamedTuple):
    """What a trained classifier is, besides its parameters. threshold: from which probability a
    text is of a class; None where it is of one alone."""

    encoder: Encoder
    names: Sequence[str]
    pooling: str
    threshold: float | None


def portable(trained: Trained, classifier: Classifier, *, splits: Mapping[str, Split]) -> Portable:
    dims = ("batch", "length")
    sizes, longest = trained.encoder.sizes, trained.encoder.longest
    lengths = sorted({longest, *(n for n in BUCKETS["length"] if n < longest)})
    # No choice of the run's changes the function: dropout, rematerialization, scanned layers.
    plain = classifier.clone(compute=bert.Compute())
    return Portable(
        inputs={"tokens": Input(dims, "int32"), "mask": Input(dims, "bool")},
        outputs=("batch", len(trained.names)),
        limits={"length": longest},
        buckets=[{"batch": b, "length": n} for b in BUCKETS["batch"] for n in lengths],
        params=functools.partial(encoders.plain_params, num_layers=sizes.num_layers),
        apply=functools.partial(_apply, plain),
        samples=functools.partial(_samples, trained, splits),
        files=lambda _: {
            "tokenizer.json": trained.encoder.tokenizer.to_str(pretty=True),
            LABELS_FILE: _labels(trained),
        },
        imports="from tokenizers import Tokenizer\n",
        example=_example("example.py.txt"),
        huggingface=functools.partial(_folder, trained),
        things="texts",
    )


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _example(name: str) -> str:
    return _text(name).replace("CHOOSE\n", _text("choose.py.txt"))


def _apply(classifier: Classifier, params: Any, inputs: Mapping[str, jax.Array]) -> jax.Array:
    tokens_BL = inputs["tokens"]
    batch = {
        "tokens": tokens_BL,
        "segments": inputs["mask"].astype(jnp.int32),
        "positions": jax.lax.broadcasted_iota(jnp.int32, tokens_BL.shape, 1),
        "mask": inputs["mask"][:, :1],
    }
    return classifier.apply({"params": params}, batch, ops.NO_DROPOUT)[:, 0]


def _labels(trained: Trained) -> str:
    """What `example.py` knows."""
    before, after = (ids.tolist() for ids in special_tokens(trained.encoder.tokenizer))
    facts = {
        "labels": list(trained.names),
        "threshold": trained.threshold,
        "max_tokens": trained.encoder.longest,
        "before": before,
        "after": after,
        "unknown": unknown_token(trained.encoder.tokenizer),
    }
    return json.dumps(facts, ensure_ascii=False) + "\n"


def _samples(
    trained: Trained,
    splits: Mapping[str, Split],
    params: Any,  # noqa: ARG001
    name: str,
    most: int | None,
) -> Samples:
    length, given = splits[name].packing.row_length, splits[name].sentences
    num = len(given.words)
    chosen = np.linspace(0, num - 1, min(num, most or num)).astype(int).tolist()  # from all over
    texts = [given.words[i] for i in chosen]
    split = rows.encode_split(
        with_classes(((given.words[i], given.tags[i]) for i in chosen), where=given.where),
        names=trained.names,
        multi=trained.threshold is not None,
        tokenizer=trained.encoder.tokenizer,
        row_length=length,
    )
    split = split._replace(packing=encoders.one_a_row(split.windows.lengths, row_length=length))
    data = rows.dataset(split, rows=packing.once(split.packing), batch_rows=BATCH_ROWS)

    def batch(begin: int) -> dict[str, np.ndarray]:
        found = data.rows(np.arange(begin, min(begin + BATCH_ROWS, data.num_rows)))
        mask = found["segments"] > 0
        width = -(-int(mask.sum(1).max()) // WIDTH) * WIDTH
        return {"tokens": found["tokens"][:, :width], "mask": mask[:, :width]}

    def outputs(logits: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": np.concatenate(logits)[:, None]}

    def answers(logits: Sequence[np.ndarray]) -> list[Any]:
        found = rows.by_text(split, outputs(logits))
        if trained.threshold is None:
            return [said["class"] for said in use.single(found, trained.names)]
        reached = 1 / (1 + np.exp(-found.astype(np.float64))) >= trained.threshold
        return [[trained.names[i] for i in np.flatnonzero(of)] for of in reached]

    def score(logits: Sequence[np.ndarray]) -> float:
        if trained.threshold is None:
            return scoring.score(split, outputs(logits), names=trained.names).scalars["accuracy"]
        found = multi.score(
            split, outputs(logits), names=trained.names, threshold=trained.threshold
        )
        return found.scalars[multi.HEADLINE[0]]

    return Samples(
        batches=[batch(begin) for begin in range(0, data.num_rows, BATCH_ROWS)],
        compared=lambda logits: rows.by_text(split, outputs(logits)),
        answers=answers,
        given=[
            " ".join(words) if _reads_alike(split, i, words, trained.encoder.tokenizer) else None
            for i, words in enumerate(texts)
        ],
        score=score,
    )


def _reads_alike(split: Split, number: int, words: Sequence[str], tokenizer: Any) -> bool:
    """Whether the tokenizer alone makes the same tokens of a text. One longer than a row is read in
    windows here, and what reads like a special token ("[SEP]") as its letters."""
    first, last = np.searchsorted(split.windows.sentences, [number, number + 1])
    tokens = split.windows.tokens[split.windows.offsets[first] : split.windows.offsets[first + 1]]
    return last == first + 1 and tokens.tolist() == tokenizer.encode(" ".join(words)).ids


# --- as transformers has it ---


def _folder(trained: Trained, params: Any) -> Folder:
    if trained.pooling != "cls":
        raise UserError(
            f"model.pooling={trained.pooling!r} has no class in transformers, whose models for "
            "sequence classification read the first token: train with "
            "--config.model.pooling=cls, or export with --format=stablehlo or onnx"
        )
    family = trained.encoder.family
    arrays = huggingface.arrays_of(params["encoder"], model_type=family)
    kind = "single" if trained.threshold is None else "multi"
    config = {
        **encoders.huggingface_config(trained.encoder, task=huggingface_heads.TASK),
        "id2label": {str(i): name for i, name in enumerate(trained.names)},
        "label2id": {name: i for i, name in enumerate(trained.names)},
        "problem_type": f"{kind}_label_classification",
        "dtype": "float32",
    }
    return Folder(
        arrays=arrays | huggingface_heads.arrays_of(params, model_type=family),
        config=config,
        files={**encoders.huggingface_files(trained.encoder), LABELS_FILE: _labels(trained)},
        example=_example("example_transformers.py.txt"),
        pipeline="text-classification",
        usage=_text("usage.py.txt"),
        note=_note(trained),
    )


def _note(trained: Trained) -> str:
    more = ""
    if trained.threshold is not None:
        more = (
            "A text may be of several classes: ask for them all with `top_k=None`, and take those "
            f"whose score is at least {trained.threshold}.\n\n"
        )
    return (
        f"{more}It knows {trained.encoder.longest} tokens; of a longer text bigjax takes the mean "
        "of the logits of overlapping windows, which the pipeline does not."
    )
