"""Owns token tagging (NER, POS): a tag for every word, from a BERT encoder over packed rows.

Reading belongs to `data/text/`, rows to `rows.py`, the trained function to `model.py`, what a
finished pass over a split comes to (scores, tables, worst errors) to `scoring.py`.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.config.sections import Evaluation
from bigjax.config.values import Config
from bigjax.data.text import inspection, packing, tokenization
from bigjax.data.text.sentences import PRE_SPLIT, Sentences
from bigjax.data.text.tags import tag_names
from bigjax.data.text.text_sources import SOURCE
from bigjax.errors import UserError
from bigjax.models import bert, crf, huggingface
from bigjax.tasks import encoders
from bigjax.tasks.classes import adopt_head, class_weights, shared_weights
from bigjax.tasks.encoders import Encoder
from bigjax.tasks.task import Data, Dataset, Model, Pretrained, Scoring, Task, Use
from bigjax.tasks.token_tagging import (
    confidence,
    decoding,
    explaining,
    rows,
    scoring,
    settings,
    slices,
    use,
)
from bigjax.tasks.token_tagging.model import Tagger, make_crf_model, make_model
from bigjax.tasks.token_tagging.portable import Trained, portable
from bigjax.tasks.token_tagging.rows import Split
from bigjax.tasks.token_tagging.settings import Decoding, Head, Loss

SECTIONS = settings.SECTIONS
HEADS = ("ForTokenClassification",)  # what Hugging Face's models of this task are called
# In the run folder, beside what is kept of the encoder: names of tags; the rule that cut words.
TAGS_FILE, WORDS_FILE = "tags.txt", "words.json"

# What a batch holds for the loss of each head.
TARGETS = {"linear": rows.tags, "crf": rows.tags_in_context}


def make(config: Config) -> Task:
    """The task of a checked config: reads the data, the tokenizer and the model's sizes.

    Raises:
      UserError: data or checkpoint that cannot be read or do not fit each other.
    """
    sentences = config.of(SOURCE)
    tags = tag_names(list(sentences.values()))
    encoder = encoders.start(config, sentences["train"].words)
    splits = _encode_splits(config, sentences, tags=tags, encoder=encoder)
    scan_layers = config.of(bert.Compute).scan_layers
    model = _model(
        config,
        encoder,
        tags=tags,
        labels=splits["train"].labels,
        adopt=functools.partial(_adopt, tags=tags, scan_layers=scan_layers, encoder=encoder),
    )
    rule, seen = sentences["train"].origin.rule, slices.kept(splits["train"], tags=tags)
    return _task(config, model, splits, tags=tags, encoder=encoder, rule=rule, seen=seen)


def load(config: Config, folder: str, *, splits: Sequence[str]) -> Task:
    """The task of the finished run in `folder`, or of a Hugging Face folder with a head that tags
    tokens, which reads only the data of `splits`.

    Raises:
      UserError: files of the run, or data, that cannot be read; a tag that the run does not know.
    """
    encoder = encoders.load(folder)
    if encoder.origin is None:
        tags = _read_tags(os.path.join(folder, TAGS_FILE))
    else:
        tags = _head(folder).labels
        config = encoders.with_rows_that_fit(config, sizes=encoder.sizes)
    sentences = config.of(SOURCE, only=splits) if splits else {}
    found = _encode_splits(config, sentences, tags=tags, encoder=encoder)
    model = _model(config, encoder, tags=tags)
    rule, seen = _read_rule(os.path.join(folder, WORDS_FILE)), slices.read(folder)
    return _task(config, model, found, tags=tags, encoder=encoder, rule=rule, seen=seen)


def _model(
    config: Config,
    encoder: Encoder,
    *,
    tags: Sequence[str],
    labels: np.ndarray | None = None,
    adopt: Callable[..., Any] | None = None,
) -> Model:
    """labels: those of training, which "balanced" weights are of; None where nothing is trained."""
    loss, compute = config.of(Loss), config.of(bert.Compute)
    parts = (encoder.sizes, compute, len(tags))
    pretrained = functools.partial(_pretrained, encoder, tags=tags, scan_layers=compute.scan_layers)
    given = {"pretrained": pretrained if encoder.origin else None, "adopt": adopt}
    if config.of(Head).head == "linear":
        weights_T = None
        if labels is not None:
            weights_T = class_weights(loss.class_weights, labels=labels, class_names=tags)
        return make_model(
            Tagger(*parts), smoothing=loss.label_smoothing, weights_T=weights_T, **given
        )
    for name, value in dataclasses.asdict(loss).items():
        if value:
            raise UserError(
                f"loss.{name}={value} goes with model.head='linear': it is of the tags of single "
                "words, and a CRF's loss is of all tags of a sentence; leave it out"
            )
    return make_crf_model(Tagger(*parts, crf.Head), allowed_ST=decoding.allowed(tags), **given)


def _encode_splits(
    config: Config,
    sentences: Mapping[str, Sentences],
    *,
    tags: Sequence[str],
    encoder: Encoder,
) -> dict[str, Split]:
    given = {"tags": tags, "tokenizer": encoder.tokenizer}
    given["row_length"] = encoders.row_length(config, sizes=encoder.sizes)
    splits = {name: rows.encode_split(found, **given) for name, found in sentences.items()}
    encoders.check_ids((split.windows for split in splits.values()), sizes=encoder.sizes)
    return splits


def _task(
    config: Config,
    model: Model,
    splits: Mapping[str, Split],
    *,
    tags: Sequence[str],
    encoder: Encoder,
    rule: str,
    seen: str | None,
) -> Task:
    """seen: what is kept of the entities of training (`slices.py`)."""
    return Task(
        name="token_tagging",
        model=model,
        data=Data(
            train=_train_set(config, splits["train"]) if "train" in splits else None,
            evals={
                name: _eval_set(config, split) for name, split in splits.items() if name != "train"
            },
            counts=lambda batch: {
                "sentences": batch["starts"].sum(),
                "tokens": (batch["segments"] > 0).sum(),
            },
            report=lambda: scoring.data_report(splits, tags=tags),
            warnings=scoring.warnings(splits),
            shared=encoders.shared(config) + shared_weights(config.of(Loss).class_weights),
            findings=lambda: inspection.findings(
                {name: split.sentences for name, split in splits.items()},
                window_sentences={name: split.windows.sentences for name, split in splits.items()},
            ),
            column=lambda name: splits["train"].sentences.column(name),
        ),
        scoring=_scoring(splits, tags=tags, how=config.of(Decoding), seen=seen),
        use=_use(config, splits, tags=tags, encoder=encoder, rule=rule, seen=seen),
    )


def _use(
    config: Config,
    splits: Mapping[str, Split],
    *,
    tags: Sequence[str],
    encoder: Encoder,
    rule: str,
    seen: str | None,
) -> Use:
    given = {"tags": tags, "tokenizer": encoder.tokenizer}
    given["row_length"] = encoders.row_length(config, sizes=encoder.sizes)
    trained = Trained(encoder, tags, config.of(Head).head, config.of(Decoding))
    return Use(
        files={
            **encoders.files(encoder),
            TAGS_FILE: "\n".join(tags) + "\n",
            WORDS_FILE: json.dumps({"rule": rule}) + "\n",
            **({slices.FILE: seen} if seen is not None else {}),
        },
        encode=functools.partial(
            use.encode,
            **given,
            batch_rows=config.of(Evaluation).batch_rows,
            how=config.of(Decoding),
        ),
        takes="text",
        prepare=functools.partial(use.prepare, rule=rule),
        formats=use.formats(tags),
        model_files=(encoders.ENCODER_FILE, encoders.FAMILY_FILE),
        of_training=(slices.FILE,),
        average=use.average,
        observe=functools.partial(use.observe, knows=tokenization.knows(encoder.tokenizer)),
        given=lambda split: list(splits[split].sentences.words) if split in splits else [],
        portable=lambda: portable(trained, splits=splits),
        questions=functools.partial(explaining.questions, **given),
    )


def _scoring(
    splits: Mapping[str, Split], *, tags: Sequence[str], how: Decoding, seen: str | None
) -> Scoring:
    of_all = {"tags": tags, "how": how}
    return Scoring(
        scoring.declared(tags),
        scoring.headline(tags),
        lambda split, outputs: scoring.score(splits[split], outputs, **of_all, seen=seen),
        confidence.calibrating(splits, **of_all),
    )


def _train_set(config: Config, train: Split) -> Dataset:
    plan, of_row, batch_rows = encoders.in_training(train.packing, config)
    return rows.dataset(
        train._replace(packing=plan),
        rows=of_row,
        batch_rows=batch_rows,
        targets=TARGETS[config.of(Head).head],
    )


def _eval_set(config: Config, split: Split) -> Dataset:
    return rows.dataset(
        split,
        rows=packing.once(split.packing),
        batch_rows=config.of(Evaluation).batch_rows,
        targets=TARGETS[config.of(Head).head],
    )


def _pretrained(encoder: Encoder, *, tags: Sequence[str], scan_layers: bool) -> Pretrained:
    """The parameters of a Hugging Face folder, its head by the names of tags."""
    assert encoder.origin is not None
    params: Mapping[str, Any] = {"encoder": encoders.read_params(encoder, scan_layers=scan_layers)}
    note = ""
    if (found := huggingface.read_head(encoder.origin.folder)) is not None:
        params = {**params, "head": {"kernel": found.kernel, "bias": found.bias}}
        params, note = adopt_head(params, theirs=found.labels, ours=tags, things="tags")
    return Pretrained(params, encoder.origin.source, note)


def _head(folder: str) -> huggingface.Head:
    found = huggingface.read_head(folder)
    if found is None:
        raise UserError(
            f"{folder}: has no head that tags tokens with names; expected a run, or a Hugging Face "
            "model for token classification whose config.json names its labels (id2label)"
        )
    return found


def _adopt(
    params: Mapping[str, Any],
    folder: str,
    *,
    tags: Sequence[str],
    scan_layers: bool,
    encoder: Encoder,
) -> tuple[Mapping[str, Any], str]:
    """Another run's layers, scanned or not, as this one has them; its head by the names of tags."""
    found = encoders.laid_out(params["encoder"], encoder=encoder, scan_layers=scan_layers)
    params = {**params, "encoder": found}
    if not os.path.exists(os.path.join(folder, TAGS_FILE)):
        return encoders.without_head(params)
    theirs = _read_tags(os.path.join(folder, TAGS_FILE))
    was_crf = "transitions" in params["head"]
    params, note = adopt_head(params, theirs=theirs, ours=tags, things="tags")
    if was_crf and "head" in params:  # from and to which tag
        order = [theirs.index(tag) for tag in tags]
        scores = params["head"]["transitions"][order]
        params["head"] = {**params["head"], "transitions": scores}
    return params, note


def _read_rule(path: str) -> str:
    """The rule that cut a run's text into words; earlier runs read only words."""
    if not os.path.exists(path):
        return PRE_SPLIT
    return encoders.read_file(path, lambda text: str(json.loads(text)["rule"]))


def _read_tags(path: str) -> list[str]:
    return encoders.read_file(path, lambda text: text.removesuffix("\n").split("\n"))
