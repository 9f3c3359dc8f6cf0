"""Owns a tagger as it leaves the program: tokens and mask to logits, one sentence a row, and the
folder that transformers loads as a model for token classification."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.data.text import packing
from bigjax.data.text.sentences import Sentences, Strings
from bigjax.errors import UserError
from bigjax.models import bert, crf, huggingface, ops
from bigjax.tasks import encoder_exports, encoders
from bigjax.tasks.encoder_exports import DIMS
from bigjax.tasks.encoders import Encoder
from bigjax.tasks.portable import Folder, Portable, Samples
from bigjax.tasks.token_tagging import decoding, rows, scoring
from bigjax.tasks.token_tagging.model import Tagger
from bigjax.tasks.token_tagging.rows import Split
from bigjax.tasks.token_tagging.settings import Decoding

BATCH_ROWS = 32
LABELS_FILE, CRF_FILE = "labels.json", "crf.safetensors"
_OF_CRF = ("transitions", "start", "end")
_text = functools.partial(encoder_exports.text, package=__package__)
_example = functools.partial(_text, DECODE="decode.py.txt")


class Trained(NamedTuple):
    """What a trained tagger is, besides its parameters. head: "linear" or "crf"."""

    encoder: Encoder
    tags: Sequence[str]
    head: str
    how: Decoding


def portable(trained: Trained, *, splits: Mapping[str, Split]) -> Portable:
    """Raises UserError for tags that are chosen as `example.py` cannot."""
    if trained.head == "crf" and trained.how.kind == "argmax":
        raise UserError(
            "decode.kind='argmax' of a CRF needs its marginals, which an export has not: export "
            "with --config.decode.kind=viterbi"
        )
    # No choice of the run's changes the function: dropout, rematerialization, scanned layers.
    head = {"linear": ops.Dense, "crf": crf.Head}[trained.head]
    tagger = Tagger(trained.encoder.sizes, bert.Compute(), len(trained.tags), head)
    return Portable(
        **encoder_exports.common(trained.encoder),
        outputs=(*DIMS, len(trained.tags)),
        apply=functools.partial(_apply, tagger),
        samples=functools.partial(_samples, trained, splits),
        files=lambda params: {
            "tokenizer.json": trained.encoder.tokenizer.to_str(pretty=True),
            LABELS_FILE: _labels(trained, params),
        },
        example=_example("example.py.txt"),
        huggingface=functools.partial(_folder, trained),
        things="sentences",
    )


def _apply(tagger: Tagger, params: Any, inputs: Mapping[str, jax.Array]) -> jax.Array:
    batch = encoder_exports.batch_of(inputs)
    found = tagger.apply({"params": params}, batch, ops.NO_DROPOUT)
    return found[0] if isinstance(found, tuple) else found  # a CRF's scores are beside it


def _transitions(trained: Trained, params: Any) -> np.ndarray | None:
    """float32 (T + 2, T) as in `models/crf.py`; None where the head is linear."""
    if trained.head == "linear":
        return None
    return np.concatenate([np.reshape(params["head"][k], (-1, len(trained.tags))) for k in _OF_CRF])


def _labels(trained: Trained, params: Any) -> str:
    """What `example.py` knows."""
    between = decoding.scores(_transitions(trained, params), trained.tags)
    if trained.how.kind == "argmax":  # each tag by itself
        between = np.zeros_like(between)
    facts = {
        "labels": list(trained.tags),
        **encoder_exports.facts(trained.encoder),
        "transitions": between.tolist(),
    }
    return json.dumps(facts, ensure_ascii=False) + "\n"


def _samples(
    trained: Trained, splits: Mapping[str, Split], params: Any, name: str, most: int | None
) -> Samples:
    length = splits[name].packing.row_length
    sentences = _chosen(splits[name].sentences, most=most)
    tokenizer = trained.encoder.tokenizer
    split = rows.encode_split(sentences, tags=trained.tags, tokenizer=tokenizer, row_length=length)
    split = split._replace(packing=encoders.one_a_row(split.windows.lengths, row_length=length))
    data = rows.dataset(
        split, rows=packing.once(split.packing), batch_rows=BATCH_ROWS, targets=rows.tags
    )
    transitions = _transitions(trained, params)

    def outputs(logits: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        wide = [np.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0))) for x in logits]
        found = {"logits": np.concatenate(wide)}
        return found if transitions is None else found | {"transitions": transitions[None]}

    def answers(logits: Sequence[np.ndarray]) -> list[list[str]]:
        best = decoding.decode(
            rows.by_word(split, outputs(logits)),
            sentences.words.offsets,
            transitions=transitions,
            tags=trained.tags,
            kind=trained.how.kind,
        )
        return rows.by_sentence(split, [trained.tags[i] for i in best])

    plain = lambda words: tokenizer.encode(words, is_pretokenized=True).ids  # noqa: E731
    first = scoring.headline(trained.tags)[0]
    return Samples(
        batches=encoder_exports.inputs_of(data),
        compared=lambda logits: rows.by_word(split, outputs(logits)),
        answers=answers,
        given=[
            words if encoder_exports.is_read_as(split.windows, number=i, ids=plain(words)) else None
            for i, words in enumerate(sentences.words)
        ],
        score=lambda logits: scoring.score(
            split, outputs(logits), tags=trained.tags, how=trained.how, seen=None
        ).scalars[first],
    )


def _chosen(sentences: Sentences, *, most: int | None) -> Sentences:
    """At most so many, from all over the split."""
    num = len(sentences.words)
    if most is None or num <= most:
        return sentences
    chosen = np.linspace(0, num - 1, most).astype(int).tolist()
    words, tags = ([x[i] for i in chosen] for x in (sentences.words, sentences.tags))
    return Sentences(Strings.of(words), Strings.of(tags), sentences.where)


# --- as transformers has it ---


def _folder(trained: Trained, params: Any) -> Folder:
    head = params["head"]
    arrays = huggingface.arrays_of(params["encoder"], model_type=trained.encoder.family)
    arrays[f"{huggingface.HEAD}.weight"] = huggingface.as_theirs("kernel", head["kernel"])
    arrays[f"{huggingface.HEAD}.bias"] = huggingface.as_theirs("bias", head["bias"])
    config = {
        **encoder_exports.huggingface_config(trained.encoder, task="ForTokenClassification"),
        **encoder_exports.labels(trained.tags),
        "problem_type": "single_label_classification",
        "dtype": "float32",
    }
    return Folder(
        arrays=arrays,
        config=config,
        files={
            **encoder_exports.huggingface_files(trained.encoder),
            LABELS_FILE: _labels(trained, params),
        },
        beside={} if trained.head == "linear" else {CRF_FILE: {k: head[k] for k in _OF_CRF}},
        example=_example("example_transformers.py.txt"),
        pipeline="token-classification",
        usage=_text("usage.py.txt"),
        note=_note(trained),
    )


def _note(trained: Trained) -> str:
    lines = [
        "A word is tagged at its first sub-word, so the pipeline is given "
        '`aggregation_strategy="first"`. '
        f"It cuts off what is beyond {trained.encoder.longest} tokens: give one sentence at a time."
    ]
    if trained.head == "crf":
        lines.append(
            "The head is a linear-chain CRF, which transformers has no class for: the weights are "
            "those of the scores of single words, and what the pipeline makes of them is not what "
            f"the model was trained for. `{CRF_FILE}` holds the scores of neighbouring tags "
            "(transitions: from row to column; start; end), and `example.py` decodes with them."
        )
    elif trained.how.kind == "viterbi":
        lines.append(
            "The pipeline takes the best tag of each word, `example.py` the best sequence in which "
            "no entity begins in its middle, as the scores below do: they differ now and then."
        )
    return "\n\n".join(lines)
