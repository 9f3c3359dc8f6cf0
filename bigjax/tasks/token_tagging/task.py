"""Owns token tagging (NER, POS): a tag for every word, from a BERT encoder over packed rows.

Reading and packing belong to `data/`, the encoder to `models/bert.py`, what a finished pass over a
split comes to (scores, tables, worst errors) to `tagging_scores.py`.

Suffixes: B batch rows, L row length, D model, T tags.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config.values import Config
from bigjax.data import pipeline
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.text import packing, tokenization, windowing
from bigjax.data.text.sentences import Sentences
from bigjax.data.text.text_sources import SOURCE
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, ops, origins
from bigjax.scores.losses import cross_entropy
from bigjax.scores.metrics import Mean
from bigjax.tasks.task import Task
from bigjax.tasks.token_tagging import settings, tagging_scores

SECTIONS = settings.SECTIONS
ENCODER_FILE = "encoder.json"  # in the run folder, the sizes of the encoder


class Tagger(nn.Module):
    """An encoder and a linear layer over its last hidden states: float32 logits (B, L, T)."""

    sizes: bert.Sizes
    compute: bert.Compute
    num_tags: int

    @nn.compact
    def __call__(self, batch: Mapping[str, jax.Array], dropout: ops.Dropout) -> jax.Array:
        x_BLD = bert.Encoder(self.sizes, self.compute, name="encoder")(
            batch["tokens"],
            segments_BL=batch["segments"],
            positions_BL=batch["positions"],
            dropout=dropout,
        )
        x_BLD = dropout.at(0).site(3)(x_BLD, rate=self.compute.dropout)
        return ops.Dense(self.num_tags, name="head")(x_BLD.astype(jnp.float32))


def make(config: Config) -> Task:
    """The task of a checked config: reads the data, the tokenizer and the model's sizes.

    Raises:
      UserError: data or checkpoint that cannot be read or do not fit each other.
    """
    splits = config.of(SOURCE)
    tags = tagging_scores.tag_names(list(splits.values()))
    row_length = config["text"]["row_length"]
    tokenizer, sizes, pretrained = _start(config, splits["train"])
    if row_length > sizes.max_positions - sizes.position_offset:
        raise UserError(
            f"text.row_length={row_length} is more than the "
            f"{sizes.max_positions - sizes.position_offset} positions that the model knows; choose "
            "a shorter row: longer sentences are split into windows"
        )
    encode = functools.partial(encode_split, tags=tags, tokenizer=tokenizer, row_length=row_length)
    splits = {name: encode(sentences) for name, sentences in splits.items()}
    largest = max(int(split.windows.tokens.max()) for split in splits.values())
    if largest >= sizes.vocab_size:
        raise UserError(
            f"init.checkpoint: tokenizer.json gives id {largest}, and config.json's vocab_size is "
            f"{sizes.vocab_size}: they do not belong together"
        )
    train = splits["train"]
    compute = bert.Compute(**config.pick("model", bert.Compute))
    model = Tagger(sizes, compute, len(tags))
    return Task(
        name="token_tagging",
        init=functools.partial(_init, model),
        pretrained=pretrained,
        loss=functools.partial(_loss, model, smoothing=config["loss"]["label_smoothing"]),
        predict=functools.partial(_predict, model),
        counts=_counts,
        score=lambda split, outputs: tagging_scores.score(splits[split], outputs, tags=tags),
        train=_dataset(
            train,
            rows=packing.epochs(train.packing, seed=config[""]["seed"]),
            batch_rows=pipeline.batch_rows(
                examples=config["batch"]["examples"],
                rows=config["batch"]["rows"],
                num_examples=len(train.sentences.words),
                num_rows=train.packing.num_rows,
            ),
        ),
        evals={
            name: _dataset(
                split, rows=packing.once(split.packing), batch_rows=config["eval"]["batch_rows"]
            )
            for name, split in splits.items()
            if name != "train"
        },
        sharding_rules=bert.SHARDING_RULES,
        layer_depths=functools.partial(_layer_depths, num_layers=sizes.num_layers),
        data_report=lambda: tagging_scores.data_report(splits, tags=tags),
        score_names=("loss", "accuracy", *tagging_scores.score_names(tags)),
        headline=tagging_scores.headline(tags),
        files=_files(tokenizer, tags=tags, sizes=sizes),
    )


def encode_split(
    sentences: Sentences, *, tags: Sequence[str], tokenizer: Any, row_length: int
) -> tagging_scores.Split:
    """A split as windows of sub-words, its labels as numbers, and the plan of its rows."""
    windows = windowing.make_windows(sentences.words, tokenizer=tokenizer, row_length=row_length)
    number = {tag: i for i, tag in enumerate(tags)}
    labels = np.array([number[tag] for found in sentences.tags for tag in found], np.int32)
    plan = packing.plan(windows.lengths, row_length=row_length)
    return tagging_scores.Split(sentences, windows, labels, plan)


def _dataset(split: tagging_scores.Split, *, rows: Callable[..., Any], batch_rows: int) -> Dataset:
    def make_rows(numbers: np.ndarray) -> Batch:
        filled = windowing.fill_rows(
            split.windows, rows(numbers), row_length=split.packing.row_length
        )
        words = filled.pop("words")
        counted = words >= 0
        return filled | {"labels": np.where(counted, split.labels[words], 0), "mask": counted}

    return Dataset(
        rows=make_rows,
        examples=lambda numbers: [split.windows.sentences[ids] for ids in rows(numbers)],
        batch_rows=batch_rows,
        num_rows=split.packing.num_rows,
        num_examples=len(split.sentences.words),
        fill=split.packing.fill,
        fingerprint=split.sentences.fingerprint(),
    )


def _start(config: Config, train: Sentences) -> tuple[Any, bert.Sizes, Callable[[], Any] | None]:
    """Tokenizer, sizes, and where the parameters come from: a folder, or nowhere."""
    checkpoint = config["init"]["checkpoint"]
    if checkpoint is None:
        tokenizer = tokenization.train_wordpiece(
            train.words, vocab_size=config["text"]["vocab_size"]
        )
        sizes = bert.Sizes(
            vocab_size=tokenizer.get_vocab_size(), **config.pick("model", settings.NewEncoder)
        )
        if sizes.hidden_size % sizes.num_heads:
            raise UserError(
                f"model.hidden_size={sizes.hidden_size} does not divide into "
                f"model.num_heads={sizes.num_heads} heads"
            )
        return tokenizer, sizes, None
    run = origins.run_of(checkpoint)
    if run is not None:  # its parameters are read by `start.py`, as those of any task
        return tokenization.load_tokenizer(run), _read_sizes(os.path.join(run, ENCODER_FILE)), None
    folder = origins.find_folder(checkpoint)
    sizes = huggingface.read_sizes(folder)

    def pretrained() -> tuple[dict[str, Any], str]:
        encoder = huggingface.read_params(folder, sizes=sizes)
        if config["model"]["scan_layers"]:
            encoder = huggingface.stack_layers(encoder, num_layers=sizes.num_layers)
        return {"encoder": encoder}, checkpoint

    return tokenization.load_tokenizer(folder), sizes, pretrained


def _files(tokenizer: Any, *, tags: Sequence[str], sizes: bert.Sizes) -> dict[str, str]:
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tags.txt": "\n".join(tags) + "\n",
        ENCODER_FILE: json.dumps(dataclasses.asdict(sizes), indent=1) + "\n",
    }


def _read_sizes(path: str) -> bert.Sizes:
    try:
        with open(path, encoding="utf-8") as file:
            return bert.Sizes(**json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"init.checkpoint: {path} cannot be read ({error}); expected the folder of a run of "
            "token tagging"
        ) from error


def _init(model: Tagger, key: jax.Array) -> Any:
    zeros = jnp.zeros((1, 8), jnp.int32)
    batch = {"tokens": zeros, "segments": zeros, "positions": zeros}
    return model.init(key, batch, ops.NO_DROPOUT)


def _loss(
    model: Tagger,
    variables: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    *,
    smoothing: float,
) -> tuple[dict[str, Mean], dict[str, Any]]:
    dropout = ops.Dropout(jax.random.bits(key, dtype=jnp.uint32), batch["row"])
    logits_BLT = model.apply(variables, batch, dropout)
    losses_BL = cross_entropy(logits_BLT, labels=batch["labels"], smoothing=smoothing)
    return _means(losses_BL, logits_BLT, batch), {}


def _predict(
    model: Tagger, variables: Any, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, Mean], dict[str, jax.Array]]:
    logits_BLT = model.apply(variables, batch, ops.NO_DROPOUT)
    losses_BL = cross_entropy(logits_BLT, labels=batch["labels"])
    outputs = {"tags": jnp.argmax(logits_BLT, axis=-1).astype(jnp.int32), "losses": losses_BL}
    return _means(losses_BL, logits_BLT, batch), outputs


def _means(losses_BL: jax.Array, logits_BLT: jax.Array, batch: Mapping[str, jax.Array]) -> Any:
    right_BL = jnp.argmax(logits_BLT, axis=-1) == batch["labels"]
    return {
        "loss": Mean.of(losses_BL, batch["mask"]),
        "accuracy": Mean.of(right_BL, batch["mask"]),
    }


def _counts(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    return {"sentences": batch["starts"].sum(), "tokens": (batch["segments"] > 0).sum()}


def _layer_depths(params: Any, *, num_layers: int) -> Any:
    return {
        "encoder": bert.layer_depths(params["encoder"], num_layers=num_layers),
        "head": jax.tree.map(lambda _: num_layers + 1, params["head"]),
    }
