"""Owns text classification (sentiment, intent, topic): one class, or any number of them, for every
text, from an encoder over packed rows.

Reading belongs to `data/text/`, rows to `rows.py`, the trained function to `model.py`, what a
finished pass over a split comes to (scores, tables, mistakes) to `scoring.py` and `multi.py`.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.config.sections import Evaluation, Run
from bigjax.config.values import Config
from bigjax.data.dataset import Batch as Arrays
from bigjax.data.text import class_inspection, packing, word_noise
from bigjax.data.text.class_sources import CLASS_SOURCE
from bigjax.data.text.sentences import Sentences
from bigjax.data.text.tokenization import (
    knows,
    mask_token,
    special_tokens,
    unknown_token,
)
from bigjax.data.text.word_noise import WordNoise
from bigjax.models import bert, huggingface_heads
from bigjax.scores import class_scores
from bigjax.tasks import encoders
from bigjax.tasks.classes import adopt_head, class_weights, shared_weights
from bigjax.tasks.encoders import Encoder
from bigjax.tasks.task import Data, Dataset, Model, Outputs, Pretrained, Scoring, Task, Use
from bigjax.tasks.text_classification import explaining, multi, rows, scoring, settings, use
from bigjax.tasks.text_classification import model as models
from bigjax.tasks.text_classification.portable import Trained, portable
from bigjax.tasks.text_classification.rows import Split
from bigjax.tasks.text_classification.settings import Decoding, Loss, Pooling

SECTIONS = settings.SECTIONS
HEADS = (huggingface_heads.TASK,)  # what Hugging Face's models of this task are called
CLASSES_FILE = (
    "classes.txt"  # in the run folder, beside what is kept of the encoder: a class a line
)


def make(config: Config) -> Task:
    """The task of a checked config: reads the data, the tokenizer and the model's sizes.

    Raises:
      UserError: data or checkpoint that cannot be read or do not fit each other.
    """
    sentences = config.of(CLASS_SOURCE)
    names = _names(sentences)
    encoder = encoders.start(config, sentences["train"].words)
    splits = _encode_splits(config, sentences, names=names, encoder=encoder)
    weights_C = _weights(config, splits["train"].targets, names=names)
    return _task(
        config,
        _model(config, encoder, names=names, weights_C=weights_C),
        splits,
        names=names,
        encoder=encoder,
    )


def load(config: Config, folder: str, *, splits: Sequence[str]) -> Task:
    """The task of the finished run in `folder`, or of a Hugging Face folder with a head that
    chooses classes, which reads only the data of `splits`.

    Raises:
      UserError: files of the run, or data, that cannot be read; a class that the run does not know.
    """
    encoder = encoders.load(folder)
    if encoder.origin is None:
        names = _read_names(folder)
    else:
        head = huggingface_heads.read(folder)
        names = head.labels
        config = encoders.with_rows_that_fit(config, sizes=encoder.sizes)
        kind = {**config.values["loss"], "kind": "multi" if head.multi else "single"}
        config = config._replace(values={**config.values, "loss": kind})
    sentences = config.of(CLASS_SOURCE, only=splits) if splits else {}
    found = _encode_splits(config, sentences, names=names, encoder=encoder)
    model = _model(config, encoder, names=names, weights_C=None)
    return _task(config, model, found, names=names, encoder=encoder)


def _names(splits: Mapping[str, Sentences]) -> tuple[str, ...]:
    """The classes of all splits; those that are numbers by their size."""
    names = set().union(*(found.tags.distinct for found in splits.values()))
    return tuple(sorted(names, key=lambda name: (int(name) if name.isdecimal() else -1, name)))


def _weights(config: Config, targets: np.ndarray, *, names: Sequence[str]) -> np.ndarray | None:
    labels = targets if targets.ndim == 1 else np.nonzero(targets)[1].astype(np.int32)
    return class_weights(config.of(Loss).class_weights, labels=labels, class_names=names)


def _is_multi(config: Config) -> bool:
    return config.of(Loss).kind == "multi"


def _encode_splits(
    config: Config, sentences: Mapping[str, Sentences], *, names: Sequence[str], encoder: Encoder
) -> dict[str, Split]:
    given = {"names": names, "multi": _is_multi(config), "tokenizer": encoder.tokenizer}
    given["row_length"] = encoders.row_length(config, sizes=encoder.sizes)
    splits = {name: rows.encode_split(found, **given) for name, found in sentences.items()}
    encoders.check_ids((split.windows for split in splits.values()), sizes=encoder.sizes)
    return splits


# --- the model ---


def classifier(config: Config, encoder: Encoder, *, names: Sequence[str]) -> models.Classifier:
    activation = None
    if config.of(Pooling).pooling == "cls":
        activation = huggingface_heads.NAMES[encoder.family].activation
    return models.Classifier(encoder.sizes, config.of(bert.Compute), len(names), activation)


def _model(
    config: Config, encoder: Encoder, *, names: Sequence[str], weights_C: np.ndarray | None
) -> Model:
    """weights_C: of the training loss."""
    given = {"names": names, "scan_layers": config.of(bert.Compute).scan_layers}
    smoothing = config.of(Loss).label_smoothing
    if _is_multi(config):
        train_sums = models.multi_sums(smoothing=smoothing, weights_C=weights_C)
        eval_sums = models.multi_sums()
    else:
        train_sums = models.single_sums(smoothing=smoothing, weights_C=weights_C)
        train_sums, eval_sums = models.with_accuracy(train_sums), models.single_sums()
    pretrained = functools.partial(_pretrained, encoder, **given)
    return models.make_model(
        classifier(config, encoder, names=names),
        train_sums=train_sums,
        eval_sums=eval_sums,
        pretrained=pretrained if encoder.origin else None,
        adopt=functools.partial(_adopt, encoder=encoder, **given),
    )


def _pretrained(encoder: Encoder, *, names: Sequence[str], scan_layers: bool) -> Pretrained:
    """The parameters of a Hugging Face folder, its head by the names of classes."""
    assert encoder.origin is not None
    found = huggingface_heads.read(encoder.origin.folder)
    params: Mapping[str, Any] = {
        "encoder": encoders.read_params(encoder, scan_layers=scan_layers), **found.params,
    }  # fmt: skip
    note = ""
    if found.labels:
        params, note = adopt_head(params, theirs=found.labels, ours=names, things="classes")
    return Pretrained(params, encoder.origin.source, note)


def _adopt(
    params: Mapping[str, Any],
    folder: str,
    *,
    names: Sequence[str],
    scan_layers: bool,
    encoder: Encoder,
) -> tuple[Mapping[str, Any], str]:
    """Another run's layers, scanned or not, as this one has them; its head by the names of
    classes."""
    found = encoders.laid_out(params["encoder"], encoder=encoder, scan_layers=scan_layers)
    params = {**params, "encoder": found}
    if not os.path.exists(os.path.join(folder, CLASSES_FILE)):
        return encoders.without_head(params)
    return adopt_head(params, theirs=_read_names(folder), ours=names, things="classes")


# --- the task ---


def _task(
    config: Config,
    model: Model,
    splits: Mapping[str, Split],
    *,
    names: Sequence[str],
    encoder: Encoder,
) -> Task:
    return Task(
        name="text_classification",
        model=model,
        data=Data(
            train=_train_set(config, splits["train"], encoder) if "train" in splits else None,
            evals={
                name: _eval_set(config, split) for name, split in splits.items() if name != "train"
            },
            counts=lambda batch: {
                "texts": batch["starts"].sum(),
                "tokens": (batch["segments"] > 0).sum(),
            },
            report=lambda: scoring.data_report(splits, names=names),
            warnings=scoring.warnings(splits, names=names),
            shared=encoders.shared(config) + shared_weights(config.of(Loss).class_weights),
            findings=lambda: class_inspection.findings(
                {name: split.sentences for name, split in splits.items()},
                window_sentences={name: split.windows.sentences for name, split in splits.items()},
            ),
            column=lambda name: splits["train"].sentences.column(name),
        ),
        scoring=_scoring(config, splits, names=names),
        use=_use(config, splits, names=names, encoder=encoder),
    )


def _scoring(config: Config, splits: Mapping[str, Split], *, names: Sequence[str]) -> Scoring:
    of = multi if _is_multi(config) else scoring
    score: Callable[..., Any] = functools.partial(of.score, names=names)
    if of is multi:
        score = functools.partial(score, threshold=config.of(Decoding).threshold)
    return Scoring(
        of.DECLARED,
        of.HEADLINE,
        lambda split, outputs: score(splits[split], outputs),
        of.calibrating(splits),
    )


def _use(
    config: Config, splits: Mapping[str, Split], *, names: Sequence[str], encoder: Encoder
) -> Use:
    answer: Callable[..., Any] = use.single
    mean: Callable[..., Any] = class_scores.mean_logits
    if _is_multi(config):
        answer = functools.partial(use.several, threshold=config.of(Decoding).threshold)
        mean = multi.average

    def average(several: Sequence[Outputs]) -> Outputs:
        return {"logits": mean([outputs["logits"] for outputs in several])}

    how = config.of(Decoding).threshold if _is_multi(config) else None
    trained = Trained(encoder, names, config.of(Pooling).pooling, how)
    cut = {
        "tokenizer": encoder.tokenizer,
        "row_length": encoders.row_length(config, sizes=encoder.sizes),
    }

    return Use(
        files={**encoders.files(encoder), CLASSES_FILE: "\n".join(names) + "\n"},
        encode=functools.partial(
            use.encode,
            names=names,
            answer=answer,
            **cut,
            batch_rows=config.of(Evaluation).batch_rows,
        ),
        takes="text",
        endings={"": "lines", ".tsv": "csv"},
        prepare=functools.partial(use.prepare, column=config.flat().get("data.text_column")),
        formats=use.FORMATS,
        model_files=(encoders.ENCODER_FILE, encoders.FAMILY_FILE),
        average=average,
        observe=functools.partial(use.observe, knows=knows(encoder.tokenizer)),
        given=lambda split: list(splits[split].sentences.words) if split in splits else [],
        portable=lambda: portable(trained, classifier(config, encoder, names=names), splits=splits),
        questions=functools.partial(
            explaining.questions, names=names, multi=_is_multi(config), **cut
        ),
    )


def _train_set(config: Config, train: Split, encoder: Encoder) -> Dataset:
    noise, seed = config.of(WordNoise), config.of(Run).seed
    hidden = mask_token(encoder.tokenizer)
    hidden = unknown_token(encoder.tokenizer) if hidden is None else hidden

    def change(batch: Arrays, examples: Sequence[np.ndarray], numbers: np.ndarray) -> Arrays:
        return word_noise.disturb(
            batch,
            examples,
            windows=train.windows,
            numbers=numbers,
            seed=seed,
            noise=noise,
            hidden=hidden,
            num_before=len(special_tokens(encoder.tokenizer)[0]),
        )

    plan, of_row, batch_rows = encoders.in_training(train.packing, config)
    return rows.dataset(
        train._replace(packing=plan),
        rows=of_row,
        batch_rows=batch_rows,
        targets=rows.labelled,
        change=change if noise.word_dropout or noise.word_swaps else None,
    )


def _eval_set(config: Config, split: Split) -> Dataset:
    return rows.dataset(
        split,
        rows=packing.once(split.packing),
        batch_rows=config.of(Evaluation).batch_rows,
        targets=rows.labelled,
    )


def _read_names(folder: str) -> tuple[str, ...]:
    path = os.path.join(folder, CLASSES_FILE)
    return encoders.read_file(path, lambda text: tuple(text.removesuffix("\n").split("\n")))
