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

from bigjax.config.sections import Batch, Evaluation, Init, Run
from bigjax.config.values import Config
from bigjax.data.dataset import rows_a_batch
from bigjax.data.text import inspection, packing, tokenization
from bigjax.data.text.sentences import PRE_SPLIT, Sentences
from bigjax.data.text.tags import tag_names
from bigjax.data.text.text_sources import SOURCE
from bigjax.errors import UserError
from bigjax.models import bert, crf, huggingface, origins
from bigjax.tasks.classes import adopt_head, class_weights
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
from bigjax.tasks.token_tagging.portable import FAMILY_FILE, Trained, portable, read_family
from bigjax.tasks.token_tagging.rows import Split
from bigjax.tasks.token_tagging.settings import Decoding, Head, Loss, Rows, Vocabulary

SECTIONS = settings.SECTIONS
HEADS = ("ForTokenClassification",)  # what Hugging Face's models of this task are called
# In the run folder: names of tags; the encoder's sizes; the rule that cut text into words.
TAGS_FILE, ENCODER_FILE, WORDS_FILE = "tags.txt", "encoder.json", "words.json"

# What a batch holds for the loss of each head.
TARGETS = {"linear": rows.tags, "crf": rows.tags_in_context}


def make(config: Config) -> Task:
    """The task of a checked config: reads the data, the tokenizer and the model's sizes.

    Raises:
      UserError: data or checkpoint that cannot be read or do not fit each other.
    """
    sentences = config.of(SOURCE)
    tags = tag_names(list(sentences.values()))
    tokenizer, sizes, family, pretrained = _start(config, sentences["train"], tags=tags)
    splits = _encode_splits(config, sentences, tags=tags, tokenizer=tokenizer, sizes=sizes)
    scan_layers = config.of(bert.Compute).scan_layers
    model = _model(
        config,
        sizes,
        tags=tags,
        labels=splits["train"].labels,
        pretrained=pretrained,
        adopt=functools.partial(_adopt, tags=tags, scan_layers=scan_layers, sizes=sizes),
    )
    given = {"tags": tags, "tokenizer": tokenizer, "sizes": sizes, "family": family}
    given |= {
        "rule": sentences["train"].origin.rule,
        "seen": slices.kept(splits["train"], tags=tags),
    }
    return _task(config, model, splits, **given)


def load(config: Config, folder: str, *, splits: Sequence[str]) -> Task:
    """The task of the finished run in `folder`, or of a Hugging Face folder with a head that tags
    tokens, which reads only the data of `splits`.

    Raises:
      UserError: files of the run, or data, that cannot be read; a tag that the run does not know.
    """
    tokenizer = tokenization.load_tokenizer(folder)
    if os.path.exists(os.path.join(folder, ENCODER_FILE)):
        sizes = _read_sizes(os.path.join(folder, ENCODER_FILE))
        tags = _read_tags(os.path.join(folder, TAGS_FILE))
        family, pretrained = read_family(folder, sizes=sizes), None
    else:
        sizes, family = huggingface.read_sizes(folder), huggingface.read_model_type(folder)
        tags = _head(folder).labels
        config = _with_rows_that_fit(config, sizes)
        pretrained = _pretrained(config, folder, source=folder, sizes=sizes, tags=tags)
    sentences = config.of(SOURCE, only=splits) if splits else {}
    found = _encode_splits(config, sentences, tags=tags, tokenizer=tokenizer, sizes=sizes)
    model = _model(config, sizes, tags=tags, pretrained=pretrained)
    given = {"tags": tags, "tokenizer": tokenizer, "sizes": sizes, "family": family}
    given |= {"rule": _read_rule(os.path.join(folder, WORDS_FILE)), "seen": slices.read(folder)}
    return _task(config, model, found, **given)


def _model(
    config: Config,
    sizes: bert.Sizes,
    *,
    tags: Sequence[str],
    labels: np.ndarray | None = None,
    pretrained: Callable[[], Pretrained] | None = None,
    adopt: Callable[..., Any] | None = None,
) -> Model:
    """labels: those of training, which "balanced" weights are of; None where nothing is trained."""
    loss, parts = config.of(Loss), (sizes, config.of(bert.Compute), len(tags))
    given = {"pretrained": pretrained, "adopt": adopt}
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
    tokenizer: Any,
    sizes: bert.Sizes,
) -> dict[str, Split]:
    row_length = _row_length(config, sizes)
    splits = {
        name: rows.encode_split(found, tags=tags, tokenizer=tokenizer, row_length=row_length)
        for name, found in sentences.items()
    }
    largest = max((int(split.windows.tokens.max()) for split in splits.values()), default=0)
    if largest >= sizes.vocab_size:
        raise UserError(
            f"init.checkpoint: tokenizer.json gives id {largest}, and config.json's vocab_size is "
            f"{sizes.vocab_size}: they do not belong together"
        )
    return splits


def _with_rows_that_fit(config: Config, sizes: bert.Sizes) -> Config:
    """The settings for a model that was trained with other ones: rows no longer than it knows."""
    most = sizes.max_positions - sizes.position_offset
    text = config.values["text"]
    short = {**text, "row_length": min(most, text["row_length"])}
    return config._replace(values={**config.values, "text": short})


def _row_length(config: Config, sizes: bert.Sizes) -> int:
    row_length = config.of(Rows).row_length
    if row_length > sizes.max_positions - sizes.position_offset:
        raise UserError(
            f"text.row_length={row_length} is more than the "
            f"{sizes.max_positions - sizes.position_offset} positions that the model knows; choose "
            "a shorter row: longer sentences are split into windows"
        )
    return row_length


def _task(
    config: Config,
    model: Model,
    splits: Mapping[str, Split],
    *,
    tags: Sequence[str],
    tokenizer: Any,
    sizes: bert.Sizes,
    family: str,
    rule: str,
    seen: str | None,
) -> Task:
    """seen: what is kept of the entities of training (`slices.py`)."""
    given = {"tags": tags, "tokenizer": tokenizer, "sizes": sizes, "family": family}
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
            findings=lambda: inspection.findings(
                {name: split.sentences for name, split in splits.items()},
                window_sentences={name: split.windows.sentences for name, split in splits.items()},
            ),
        ),
        scoring=_scoring(splits, tags=tags, how=config.of(Decoding), seen=seen),
        use=_use(config, splits, **given, rule=rule, seen=seen),
    )


def _use(
    config: Config,
    splits: Mapping[str, Split],
    *,
    tags: Sequence[str],
    tokenizer: Any,
    sizes: bert.Sizes,
    family: str,
    rule: str,
    seen: str | None,
) -> Use:
    given = {"tags": tags, "tokenizer": tokenizer, "row_length": _row_length(config, sizes)}
    trained = Trained(sizes, family, tags, tokenizer, config.of(Head).head, config.of(Decoding))
    return Use(
        files={
            "tokenizer.json": tokenizer.to_str(pretty=True),
            TAGS_FILE: "\n".join(tags) + "\n",
            ENCODER_FILE: json.dumps(_size_record(sizes), indent=1) + "\n",
            WORDS_FILE: json.dumps({"rule": rule}) + "\n",
            FAMILY_FILE: json.dumps({"model_type": family}) + "\n",
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
        model_files=(ENCODER_FILE, FAMILY_FILE),
        of_training=(slices.FILE,),
        average=use.average,
        observe=functools.partial(use.observe, knows=tokenization.knows(tokenizer)),
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
    return rows.dataset(
        train,
        rows=packing.epochs(train.packing, seed=config.of(Run).seed),
        batch_rows=rows_a_batch(
            config.of(Batch),
            num_examples=len(train.windows.lengths),
            num_rows=train.packing.num_rows,
            row_length=train.packing.row_length,
        ),
        targets=TARGETS[config.of(Head).head],
    )


def _eval_set(config: Config, split: Split) -> Dataset:
    return rows.dataset(
        split,
        rows=packing.once(split.packing),
        batch_rows=config.of(Evaluation).batch_rows,
        targets=TARGETS[config.of(Head).head],
    )


def _start(
    config: Config, train: Sentences, *, tags: Sequence[str]
) -> tuple[Any, bert.Sizes, str, Callable[[], Pretrained] | None]:
    """Tokenizer, sizes, family, and where the parameters come from: a folder, or nowhere."""
    checkpoint = config.of(Init).checkpoint
    if checkpoint is None:
        tokenizer = tokenization.train_wordpiece(
            train.words, vocab_size=config.of(Vocabulary).vocab_size
        )
        sizes = bert.Sizes(
            vocab_size=tokenizer.get_vocab_size(),
            **dataclasses.asdict(config.of(settings.NewEncoder)),
        )
        if sizes.hidden_size % sizes.num_heads:
            raise UserError(
                f"model.hidden_size={sizes.hidden_size} does not divide into "
                f"model.num_heads={sizes.num_heads} heads"
            )
        return tokenizer, sizes, huggingface.model_type_of(sizes), None
    run = origins.run_of(checkpoint)
    if run is not None:  # its parameters are read by `starting_points.py`, as those of any task
        sizes = _read_sizes(os.path.join(run, ENCODER_FILE))
        return tokenization.load_tokenizer(run), sizes, read_family(run, sizes=sizes), None
    folder, source = origins.find_folder(checkpoint)
    sizes = huggingface.read_sizes(folder)
    pretrained = _pretrained(config, folder, source=source, sizes=sizes, tags=tags)
    family = huggingface.read_model_type(folder)
    return tokenization.load_tokenizer(folder), sizes, family, pretrained


def _pretrained(
    config: Config, folder: str, *, source: str, sizes: bert.Sizes, tags: Sequence[str]
) -> Callable[[], Pretrained]:
    """The parameters of a Hugging Face folder, its head by the names of tags."""

    def pretrained() -> Pretrained:
        encoder = huggingface.read_params(folder, sizes=sizes)
        if config.of(bert.Compute).scan_layers:
            encoder = huggingface.stack_layers(encoder, num_layers=sizes.num_layers)
        params, note = {"encoder": encoder}, ""
        if (found := huggingface.read_head(folder)) is not None:
            params["head"] = {"kernel": found.kernel, "bias": found.bias}
            params, note = adopt_head(params, theirs=found.labels, ours=tags, things="tags")
        return Pretrained(params, source, note)

    return pretrained


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
    sizes: bert.Sizes,
) -> tuple[Mapping[str, Any], str]:
    """Another run's layers, scanned or not, as this one has them; its head by the names of tags."""
    theirs = _read_tags(os.path.join(folder, TAGS_FILE))
    was_crf = "transitions" in params["head"]
    params, note = adopt_head(params, theirs=theirs, ours=tags, things="tags")
    if was_crf and "head" in params:  # from and to which tag
        order = [theirs.index(tag) for tag in tags]
        scores = params["head"]["transitions"][order]
        params["head"] = {**params["head"], "transitions": scores}
    encoder = params["encoder"]
    if scan_layers and "layers" not in encoder:
        encoder = huggingface.stack_layers(encoder, num_layers=sizes.num_layers)
    elif not scan_layers and "layers" in encoder:
        encoder = huggingface.unstack_layers(encoder, num_layers=sizes.num_layers)
    return {**params, "encoder": encoder}, note


def _size_record(sizes: bert.Sizes) -> dict[str, Any]:
    """Without what is None: the file of a run from before there was such a size is the same."""
    return {name: x for name, x in dataclasses.asdict(sizes).items() if x is not None}


def _read_sizes(path: str) -> bert.Sizes:
    return _read(path, lambda text: bert.Sizes(**json.loads(text)))


def _read_rule(path: str) -> str:
    """The rule that cut a run's text into words; earlier runs read only words."""
    if not os.path.exists(path):
        return PRE_SPLIT
    return _read(path, lambda text: str(json.loads(text)["rule"]))


def _read_tags(path: str) -> list[str]:
    return _read(path, lambda text: text.removesuffix("\n").split("\n"))


def _read(path: str, parsed: Callable[[str], Any]) -> Any:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return parsed(file.read())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); expected that of a run of token tagging"
        ) from error
