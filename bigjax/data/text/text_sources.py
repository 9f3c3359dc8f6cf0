"""Owns which sources of tagged sentences there are, and the settings of each.

How a format is read belongs to its module. Each function's keyword arguments are the keys of the
config's `data` section for that source, but
`only`, which says what of the splits to read: a finished run is scored without its training data.
"""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from bigjax.data.text import news, recognise, splitting, tfds_text
from bigjax.data.text.annotated import Repair
from bigjax.data.text.cutting import Misaligned
from bigjax.data.text.label_studio import Annotations
from bigjax.data.text.recognise import Format, Reading
from bigjax.data.text.sentences import Sentences
from bigjax.errors import UserError
from bigjax.processes import distributed

Splits = dict[str, Sentences]
ALL = ("train", "dev", "test")


def embedded_news(
    *,
    source: Literal["news"],  # noqa: ARG001 - chooses this function
    num_train: int = 5000,
    num_dev: int = 500,
    num_test: int = 1000,
    seed: int = 0,
    label_noise: float = 0.0,
    only: Sequence[str] = ALL,
) -> Splits:
    """The generated corpus of `news.py`: no file, no network."""
    splits = news.read(
        num_train=num_train, num_dev=num_dev, num_test=num_test, seed=seed, label_noise=label_noise
    )
    return {split: found for split, found in splits.items() if split in only}


def prepared_tfds(
    *,
    source: Literal["tfds"],  # noqa: ARG001
    name: str,
    data_dir: str | None = None,
    train: str = "train",
    dev: str = "validation",
    test: str = "test",
    tokens: str = "tokens",
    tags: str = "tags",
    only: Sequence[str] = ALL,
) -> Splits:
    """A data set prepared by TensorFlow Datasets; train, dev and test are TFDS split expressions
    ("train[:10%]"), tokens and tags are feature names."""
    given = {"train": train, "dev": dev, "test": test}
    splits = {split: expression for split, expression in given.items() if split in only}
    return tfds_text.read(name, data_dir=data_dir, splits=splits, tokens=tokens, tags=tags)


def annotation_files(
    *,
    source: Literal["files", "conll"],  # noqa: ARG001
    train: str | tuple[str, ...],
    dev: str | tuple[str, ...] | None = None,
    test: str | tuple[str, ...] | None = None,
    dev_fraction: float = 0.1,
    folds: int | None = None,
    fold: int = 0,
    format: Format = "auto",
    encoding: str = "utf-8",
    token_column: int | str | None = None,
    tag_column: int | str | None = None,
    separator: str | None = None,
    scheme: Literal[
        "auto", "io", "iob1", "iob2", "bioes", "bilou", "bmewo", "bmes", "none"
    ] = "auto",
    tag_names: tuple[str, ...] | None = None,
    repair: Repair = "none",
    misaligned: Misaligned = "error",
    annotations: Annotations = "one",
    only: Sequence[str] = ALL,
) -> Splits:
    """The user's own files, as annotation tools write them; what each was recognised as is printed.

    train, dev, test: a file, several, or a pattern ("data/*.conll"), read in order.
    dev_fraction: without dev, this share of train is dev; 0: there is none. Which sentences depends
      on a hash of their words, so equal ones stay together.
    folds, fold: without test, that fold of train is test, for cross-validation.
    The others are fields of `recognise.Reading`.
    """
    if folds is not None and test is not None:
        raise UserError("data.folds makes test of train; expected data.test=None with it")
    if not 0 <= dev_fraction < 1:
        raise UserError(f"data.dev_fraction={dev_fraction}: expected 0 or more, less than 1")
    reading = Reading(
        format, encoding, token_column, tag_column, separator, scheme, tag_names, repair,
        misaligned, annotations,
    )  # fmt: skip
    held_out = dev is None and dev_fraction > 0
    of_train = {"train": True, "dev": held_out, "test": folds is not None}
    splits = {}
    if any(of_train[split] for split in only):
        splits["train"] = _read(train, setting="data.train", reading=reading)
        if folds is not None:
            splits["train"], splits["test"] = splitting.fold(splits["train"], number=fold, of=folds)
        if held_out:
            splits["train"], splits["dev"] = splitting.hold_out(
                splits["train"], fraction=dev_fraction
            )
    for split, given in (("dev", dev), ("test", test)):
        if given is not None and split in only:
            splits[split] = _read(given, setting=f"data.{split}", reading=reading)
    return {split: splits[split] for split in ALL if split in splits and split in only}


def _read(given: str | Sequence[str], *, setting: str, reading: Reading) -> Sentences:
    parts = []
    for path in _paths(given, setting=setting):
        parts.append(recognise.read(path, reading))
        if distributed.number() == 0:
            print(f"read {parts[-1].origin.found[0]}", flush=True)
    return splitting.join(parts)


def _paths(given: str | Sequence[str], *, setting: str) -> list[str]:
    """The files of a split. A text is one file, where there is one of that name, else a pattern, or
    several parted by commas."""
    if not given:
        raise UserError(f"{setting} is empty: give a file with --config.{setting}=PATH")
    several = given.split(",") if isinstance(given, str) and not os.path.exists(given) else given
    paths = []
    for path in [several] if isinstance(several, str) else several:
        found = [path]
        if not os.path.exists(path) and glob.has_magic(path):
            found = sorted(glob.glob(path, recursive=True))
            if not found:
                raise UserError(
                    f"{setting}={path!r}: no file matches; expected a path or a pattern"
                )
        paths += map(os.path.expanduser, found)
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise UserError(f"{setting}: {twice[0]} is there twice; expected each file once")
    return paths


SOURCES = {
    "news": embedded_news,
    "tfds": prepared_tfds,
    "files": annotation_files,
    "conll": annotation_files,  # its name when it read nothing else
}
