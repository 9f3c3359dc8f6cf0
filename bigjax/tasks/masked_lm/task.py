"""Owns masked-language modelling: a text encoder that learns from plain text, from random or given
weights, and is then a start for any task on text.

Reading belongs to `documents.py`, rows to `pieces.py` and `masking.py`, the trained function to
`model.py`, its head's parameters to `head.py`, what a finished pass comes to to `scoring.py`,
predictions to `use.py`.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.config.sections import Evaluation, Run
from bigjax.config.values import Config
from bigjax.data.text import packing
from bigjax.data.text.cutting import cut
from bigjax.data.text.tokenization import mask_token, special_ids
from bigjax.errors import UserError
from bigjax.models import bert
from bigjax.tasks import encoders
from bigjax.tasks.encoders import Encoder
from bigjax.tasks.masked_lm import head, pieces, scoring, settings, use
from bigjax.tasks.masked_lm.documents import SOURCE, Documents
from bigjax.tasks.masked_lm.masking import Masking
from bigjax.tasks.masked_lm.model import MaskedLM, make_model
from bigjax.tasks.masked_lm.pieces import Split
from bigjax.tasks.masked_lm.portable import portable
from bigjax.tasks.masked_lm.settings import Hiding, Predicting
from bigjax.tasks.task import Data, Dataset, Model, Pretrained, Scoring, Task, Use

SECTIONS = settings.SECTIONS
HEADS = ("ForMaskedLM",)  # what Hugging Face's models of this task are called
# Of the tokens that are hidden in dev and test: no run has it as its own.
EVAL_SEED = 2**32


def make(config: Config) -> Task:
    """The task of a checked config: reads the text, the tokenizer and the model's sizes.

    Raises:
      UserError: text or checkpoint that cannot be read or do not fit each other.
    """
    found = config.of(SOURCE)
    encoder = encoders.start(config, (cut_words(text) for text in found["train"].texts))
    splits = _encode_splits(config, found, encoder=encoder)
    counts_V = np.bincount(splits["train"].windows.tokens, minlength=encoder.sizes.vocab_size)
    given = {"encoder": encoder, "scan_layers": config.of(bert.Compute).scan_layers}
    given["new_head"] = functools.partial(head.new, encoder.sizes, counts_V=counts_V)
    model = _model(
        config,
        encoder,
        pretrained=functools.partial(_pretrained, **given) if encoder.origin else None,
        adopt=functools.partial(_adopt, **given),
    )
    return _task(config, model, splits, encoder=encoder)


def load(config: Config, folder: str, *, splits: Sequence[str]) -> Task:
    """The task of the finished run in `folder`, or of a Hugging Face folder with a head for it,
    which reads only the data of `splits`.

    Raises:
      UserError: files of the run, or text, that cannot be read; a folder without such a head.
    """
    encoder = encoders.load(folder)
    pretrained = None
    if encoder.origin is not None:
        config = encoders.with_rows_that_fit(config, sizes=encoder.sizes)
        pretrained = functools.partial(
            _pretrained, encoder=encoder, new_head=functools.partial(_no_head, folder),
            scan_layers=config.of(bert.Compute).scan_layers,
        )  # fmt: skip
    found = config.of(SOURCE, only=splits) if splits else {}
    model = _model(config, encoder, pretrained=pretrained)
    return _task(config, model, _encode_splits(config, found, encoder=encoder), encoder=encoder)


def cut_words(text: str) -> list[str]:
    """What a new vocabulary is learnt from."""
    return [text[begin:end] for begin, end in cut(text)]


def _model(config: Config, encoder: Encoder, **given: Any) -> Model:
    network = MaskedLM(
        encoder.sizes,
        config.of(bert.Compute),
        head.activation(encoder.sizes, family=encoder.family),
    )
    num_best = min(config.of(Predicting).num_best, encoder.sizes.vocab_size)
    return make_model(network, num_best=num_best, **given)


def _encode_splits(
    config: Config, found: Mapping[str, Documents], *, encoder: Encoder
) -> dict[str, Split]:
    row_length = encoders.row_length(config, sizes=encoder.sizes)
    splits = {
        name: pieces.encode_split(each, tokenizer=encoder.tokenizer, row_length=row_length)
        for name, each in found.items()
    }
    encoders.check_ids((split.windows for split in splits.values()), sizes=encoder.sizes)
    return splits


def _task(config: Config, model: Model, splits: Mapping[str, Split], *, encoder: Encoder) -> Task:
    hidden = _masking(config, encoder)
    in_training = hidden._replace(seed=config.of(Run).seed)
    evals = {
        name: pieces.dataset(
            split,
            rows=packing.once(split.packing),
            batch_rows=config.of(Evaluation).batch_rows,
            masking=hidden,
        )
        for name, split in splits.items()
        if name != "train"
    }
    return Task(
        name="masked_lm",
        model=model,
        data=Data(
            train=_train_set(config, splits["train"], masking=in_training)
            if "train" in splits
            else None,
            evals=evals,
            counts=lambda batch: {
                "documents": batch["starts"].sum(),
                "tokens": (batch["segments"] > 0).sum(),
            },
            report=lambda: scoring.data_report(splits, masking=hidden),
            shared=("the head starts from how often each token is in the training text",),
            findings=lambda: scoring.findings(splits),
        ),
        scoring=Scoring(
            declared=scoring.DECLARED,
            headline=scoring.HEADLINE,
            score=lambda split, outputs: scoring.score(
                splits[split],
                outputs,
                dataset=evals[split],
                tokenizer=encoder.tokenizer,
                mask_id=hidden.mask_id,
            ),
        ),
        use=_use(config, encoder, splits, mask_id=hidden.mask_id),
    )


def _use(config: Config, encoder: Encoder, splits: Mapping[str, Split], *, mask_id: int) -> Use:
    return Use(
        files={**encoders.files(encoder), head.FILE: json.dumps({"mask": mask_id}) + "\n"},
        encode=functools.partial(
            use.encode,
            tokenizer=encoder.tokenizer,
            mask_id=mask_id,
            row_length=encoders.row_length(config, sizes=encoder.sizes),
            batch_rows=config.of(Evaluation).batch_rows,
        ),
        takes="text",
        prepare=functools.partial(use.prepare, mask=encoder.tokenizer.id_to_token(mask_id)),
        formats=use.FORMATS,
        model_files=(encoders.ENCODER_FILE, encoders.FAMILY_FILE),
        portable=lambda: portable(encoder, splits=splits, mask_id=mask_id),
    )


def _masking(config: Config, encoder: Encoder) -> Masking:
    """How tokens of dev and test are hidden."""
    how, vocab = config.of(Hiding), encoder.tokenizer.get_vocab()
    if how.mask_share + how.random_share > 1:
        raise UserError(
            f"hide.mask_share={how.mask_share} and hide.random_share={how.random_share} are more "
            "than 1 together; expected shares of what is hidden"
        )
    mask = mask_token(encoder.tokenizer)
    if mask is None:
        raise UserError(
            "init.checkpoint: its tokenizer has no mask token; expected [MASK] or <mask> in it"
        )
    ordinary = np.setdiff1d(np.fromiter(vocab.values(), np.int32), special_ids(encoder.tokenizer))
    return Masking(
        EVAL_SEED, how.share, how.mask_share, how.random_share, how.whole_words, mask,
        ordinary.astype(np.int32),
    )  # fmt: skip


def _train_set(config: Config, train: Split, *, masking: Masking) -> Dataset:
    plan, rows, batch_rows = encoders.in_training(train.packing, config)
    return pieces.dataset(
        train._replace(packing=plan), rows=rows, batch_rows=batch_rows, masking=masking
    )


# --- where parameters start ---


def _pretrained(*, encoder: Encoder, new_head: Any, scan_layers: bool) -> Pretrained:
    """The parameters of a Hugging Face folder."""
    assert encoder.origin is not None
    folder, source = encoder.origin
    found = head.read(folder, sizes=encoder.sizes, family=encoder.family)
    params = {"encoder": encoders.read_params(encoder, scan_layers=scan_layers)}
    note = "" if found is not None else NEW_HEAD
    return Pretrained({**params, "head": new_head() if found is None else found}, source, note)


NEW_HEAD = "it has no head for masked-language modelling, a new one knows how frequent tokens are"


def _adopt(
    params: Mapping[str, Any], folder: str, *, encoder: Encoder, new_head: Any, scan_layers: bool
) -> tuple[Mapping[str, Any], str]:
    """Another run's parameters; its head, where it is one of this task."""
    found = encoders.laid_out(params["encoder"], encoder=encoder, scan_layers=scan_layers)
    if head.has_one(folder):
        return {**params, "encoder": found}, ""
    return {"encoder": found, "head": new_head()}, NEW_HEAD


def _no_head(folder: str) -> dict[str, Any]:
    raise UserError(f"{folder}: has no head for masked-language modelling")
