"""Owns a trained model as it leaves the program: tokens and mask to logits of every position, and
the folder that transformers loads as a model for masked-language modelling."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.data.text.tokenization import special_tokens
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, ops
from bigjax.tasks import encoder_exports
from bigjax.tasks.encoder_exports import DIMS, WIDTH
from bigjax.tasks.encoders import Encoder
from bigjax.tasks.masked_lm import head, pieces
from bigjax.tasks.masked_lm.model import MaskedLM
from bigjax.tasks.masked_lm.pieces import Split
from bigjax.tasks.portable import Folder, Portable, Samples

BATCH_ROWS = 8  # logits of the whole vocabulary are large
FACTS_FILE = "mask.json"
_text = functools.partial(encoder_exports.text, package=__package__)


class Guess(NamedTuple):
    """A document of one piece with one word of one token hidden. text: with the mask token, None
    where the tokenizer alone would make other tokens of it. ids: int32, the tokens, special ones
    too; at: which of them is the mask; asked: what stood there."""

    text: str | None
    ids: np.ndarray
    at: int
    asked: int


def portable(encoder: Encoder, *, splits: Mapping[str, Split], mask_id: int) -> Portable:
    sizes = encoder.sizes
    # No choice of the run's changes the function: dropout, rematerialization, scanned layers.
    network = MaskedLM(sizes, bert.Compute(), head.activation(sizes, family=encoder.family))
    facts = functools.partial(_facts, encoder, mask_id=mask_id)
    return Portable(
        **encoder_exports.common(encoder),
        outputs=(*DIMS, sizes.vocab_size),
        apply=functools.partial(_apply, network),
        samples=functools.partial(_samples, encoder, splits, mask_id),
        files=lambda _: {"tokenizer.json": encoder.tokenizer.to_str(pretty=True), **facts()},
        example=_text("example.py.txt"),
        huggingface=lambda params: _folder(encoder, params, facts=facts()),
        things="texts",
    )


def _apply(network: MaskedLM, params: Any, inputs: Mapping[str, jax.Array]) -> jax.Array:
    return network.apply({"params": params}, encoder_exports.batch_of(inputs), ops.NO_DROPOUT)


def _facts(encoder: Encoder, *, mask_id: int) -> dict[str, str]:
    """What `example.py` knows."""
    before, after = (ids.tolist() for ids in special_tokens(encoder.tokenizer))
    mask = encoder.tokenizer.id_to_token(mask_id)
    facts = {"mask": mask, "mask_id": mask_id, "before": before, "after": after}
    facts["max_tokens"] = encoder.longest
    return {FACTS_FILE: json.dumps(facts) + "\n"}


def _samples(
    encoder: Encoder,
    splits: Mapping[str, Split],
    mask_id: int,
    params: Any,  # noqa: ARG001
    name: str,
    most: int | None,
) -> Samples:
    guesses = _guesses(splits[name], encoder=encoder, mask_id=mask_id, most=most)

    def batch(begin: int) -> dict[str, np.ndarray]:
        some = guesses[begin : begin + BATCH_ROWS]
        width = -(-max(len(each.ids) for each in some) // WIDTH) * WIDTH
        width = min(width, encoder.longest)
        tokens, mask = np.zeros((len(some), width), np.int32), np.zeros((len(some), width), bool)
        for row, each in enumerate(some):
            tokens[row, : len(each.ids)], mask[row, : len(each.ids)] = each.ids, True
        return {"tokens": tokens, "mask": mask}

    def compared(logits: Sequence[np.ndarray]) -> np.ndarray:
        flat = (row for part in logits for row in part)
        return np.stack([row[each.at] for row, each in zip(flat, guesses)])

    best = lambda logits: compared(logits).argmax(1).tolist()  # noqa: E731
    return Samples(
        batches=[batch(begin) for begin in range(0, len(guesses), BATCH_ROWS)],
        compared=compared,
        answers=lambda logits: [[encoder.tokenizer.id_to_token(i)] for i in best(logits)],
        given=[each.text for each in guesses],
        score=lambda logits: float(
            np.mean([i == each.asked for i, each in zip(best(logits), guesses)])
        ),
    )


def _guesses(split: Split, *, encoder: Encoder, mask_id: int, most: int | None) -> list[Guess]:
    """A word of each of at most so many documents, from all over the split."""
    texts, tokenizer = split.documents.texts, encoder.tokenizer
    num = len(texts)
    chosen = np.linspace(0, num - 1, min(num, most or num)).astype(int).tolist()
    room = split.packing.row_length
    found = []
    before, after = special_tokens(tokenizer)
    for number in chosen:
        encoding = pieces.encode_text(texts[number], tokenizer=tokenizer)
        words = np.array(encoding.word_ids)
        single = np.flatnonzero(np.bincount(words)[words] == 1) if len(words) else words
        single = single[single < room - len(before) - len(after)]
        if not len(single):
            continue
        at = int(single[number % len(single)])
        ids = np.array(encoding.ids)
        asked, ids[at] = int(ids[at]), mask_id
        ids = np.concatenate([before, ids[: room - len(before) - len(after)], after])
        begin, end = encoding.offsets[at]
        text = texts[number][:begin] + tokenizer.id_to_token(mask_id) + texts[number][end:]
        alike = tokenizer.encode(text).ids == ids.tolist()
        found.append(Guess(text if alike else None, ids.astype(np.int32), len(before) + at, asked))
    if not found:
        raise UserError("dev has no word of a single token: the export cannot be tried on it")
    return found


# --- as transformers has it ---


def _folder(encoder: Encoder, params: Any, *, facts: Mapping[str, str]) -> Folder:
    arrays = huggingface.arrays_of(params["encoder"], model_type=encoder.family)
    arrays |= head.arrays_of(params["head"], family=encoder.family)
    config = encoder_exports.huggingface_config(encoder, task="ForMaskedLM")
    return Folder(
        arrays=arrays,
        config={**config, "tie_word_embeddings": True, "dtype": "float32"},
        files={**encoder_exports.huggingface_files(encoder), **facts},
        example=_text("example_transformers.py.txt"),
        pipeline="fill-mask",
        usage=_text("usage.py.txt"),
        note="The table of outputs is the table of input embeddings, and is kept once.",
    )
