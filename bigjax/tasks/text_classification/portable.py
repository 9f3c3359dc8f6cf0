"""Owns a classifier of texts as it leaves the program: tokens and mask to logits, one text a row,
and the folder that transformers loads as a model for sequence classification."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.data.text import packing
from bigjax.data.text.sentences import with_classes
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, huggingface_heads, ops
from bigjax.tasks import encoder_exports, encoders
from bigjax.tasks.encoders import Encoder
from bigjax.tasks.portable import Folder, Portable, Samples
from bigjax.tasks.text_classification import multi, rows, scoring, use
from bigjax.tasks.text_classification.model import Classifier
from bigjax.tasks.text_classification.rows import Split

BATCH_ROWS = 32
LABELS_FILE = "labels.json"
_text = functools.partial(encoder_exports.text, package=__package__)
_example = functools.partial(_text, CHOOSE="choose.py.txt")


class Trained(NamedTuple):
    """What a trained classifier is, besides its parameters. threshold: from which probability a
    text is of a class; None where it is of one alone."""

    encoder: Encoder
    names: Sequence[str]
    pooling: str
    threshold: float | None


def portable(trained: Trained, classifier: Classifier, *, splits: Mapping[str, Split]) -> Portable:
    # No choice of the run's changes the function: dropout, rematerialization, scanned layers.
    plain = classifier.clone(compute=bert.Compute())
    return Portable(
        **encoder_exports.common(trained.encoder),
        outputs=("batch", len(trained.names)),
        apply=functools.partial(_apply, plain),
        samples=functools.partial(_samples, trained, splits),
        files=lambda _: {
            "tokenizer.json": trained.encoder.tokenizer.to_str(pretty=True),
            LABELS_FILE: _labels(trained),
        },
        example=_example("example.py.txt"),
        huggingface=functools.partial(_folder, trained),
        things="texts",
    )


def _apply(classifier: Classifier, params: Any, inputs: Mapping[str, jax.Array]) -> jax.Array:
    batch = encoder_exports.batch_of(inputs) | {"mask": inputs["mask"][:, :1]}
    return classifier.apply({"params": params}, batch, ops.NO_DROPOUT)[:, 0]


def _labels(trained: Trained) -> str:
    """What `example.py` knows."""
    facts = {
        "labels": list(trained.names),
        "threshold": trained.threshold,
        **encoder_exports.facts(trained.encoder),
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

    plain = lambda whole: trained.encoder.tokenizer.encode(whole).ids  # noqa: E731
    return Samples(
        batches=encoder_exports.inputs_of(data),
        compared=lambda logits: rows.by_text(split, outputs(logits)),
        answers=answers,
        given=[
            whole if encoder_exports.is_read_as(split.windows, number=i, ids=plain(whole)) else None
            for i, whole in enumerate(map(" ".join, texts))
        ],
        score=score,
    )


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
        **encoder_exports.huggingface_config(trained.encoder, task=huggingface_heads.TASK),
        **encoder_exports.labels(trained.names),
        "problem_type": f"{kind}_label_classification",
        "dtype": "float32",
    }
    return Folder(
        arrays=arrays | huggingface_heads.arrays_of(params, model_type=family),
        config=config,
        files={**encoder_exports.huggingface_files(trained.encoder), LABELS_FILE: _labels(trained)},
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
