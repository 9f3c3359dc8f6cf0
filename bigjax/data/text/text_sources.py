"""Owns which sources of tagged sentences there are, and the settings of each.

How a format is read belongs to its module. Each function's keyword arguments are the keys of the
config's `data` section for that source, but `only`, which says what of the splits to read: a
finished run is scored without its training data.
"""

import functools
import glob
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.data.text import news, recognise, splitting, tfds_text
from bigjax.data.text.annotated import Repair
from bigjax.data.text.column_layout import Column
from bigjax.data.text.cutting import Misaligned
from bigjax.data.text.label_studio import Annotations
from bigjax.data.text.recognise import Format, Reading
from bigjax.data.text.schemes import Scheme
from bigjax.data.text.sentences import Sentences
from bigjax.errors import UserError
from bigjax.processes import distributed

Splits = dict[str, Sentences]
Files = str | tuple[str, ...]
ALL = ("train", "dev", "test")


def embedded_news(
    *,
    num_train: Annotated[int, AtLeast(0), "training sentences"] = 5000,
    num_dev: Annotated[int, AtLeast(0), "sentences of dev"] = 500,
    num_test: Annotated[int, AtLeast(0), "sentences of test"] = 1000,
    seed: Annotated[int, "which sentences are written"] = 0,
    label_noise: Annotated[
        float, Between(0, 1), "share of the training entities whose label is made wrong"
    ] = 0.0,
    only: Sequence[str] = ALL,
) -> Splits:
    """The generated corpus of `news.py`: no file, no network."""
    splits = news.read(
        num_train=num_train, num_dev=num_dev, num_test=num_test, seed=seed, label_noise=label_noise
    )
    return {split: found for split, found in splits.items() if split in only}


def prepared_tfds(
    *,
    name: Annotated[str, "the data set, with its config: 'wikiann/en'"],
    data_dir: Annotated[
        str | None, "the folder it was prepared in; None: where TFDS keeps its data"
    ] = None,
    train: Annotated[str, "TFDS' expression for the training split, such as 'train[:10%]'"] = (
        "train"
    ),
    dev: Annotated[str, "the same for dev"] = "validation",
    test: Annotated[str, "the same for test"] = "test",
    tokens: Annotated[str, "feature that holds the words"] = "tokens",
    tags: Annotated[str, "feature that holds their tags"] = "tags",
    only: Sequence[str] = ALL,
) -> Splits:
    """A data set prepared by TensorFlow Datasets (TFDS) as array_record."""
    given = {"train": train, "dev": dev, "test": test}
    splits = {split: expression for split, expression in given.items() if split in only}
    return tfds_text.read(name, data_dir=data_dir, splits=splits, tokens=tokens, tags=tags)


def annotation_files(
    *,
    train: Annotated[Files, "file of training sentences, several, or a pattern ('data/*.conll')"],
    dev: Annotated[Files | None, "the same for dev; None: a share of train"] = None,
    test: Annotated[Files | None, "the same for test; None: there is none"] = None,
    dev_fraction: Annotated[float, Between(0, 0.9), "that share, by a hash of the words"] = 0.1,
    folds: Annotated[
        int | None, AtLeast(2), "equal parts of train, one of which is test: cross-validation"
    ] = None,
    fold: Annotated[int, AtLeast(0), "which of them, from 0"] = 0,
    format: Annotated[Format, "what the files are; 'auto': by their content"] = "auto",
    encoding: Annotated[str, "of their characters, such as 'latin-1'"] = "utf-8",
    token_column: Annotated[
        Column, "where the words are: index, from the end where negative, or name; None: by names"
    ] = None,
    tag_column: Annotated[
        Column, "where their tags are ('upos', a key of MISC); None: by names, else the last"
    ] = None,
    separator: Annotated[
        str | None, "between columns; None: tabs where the first line has one, else spaces"
    ] = None,
    scheme: Annotated[
        Scheme, "how tags mark entities; 'none': they do not, as parts of speech; 'auto': by them"
    ] = "auto",
    tag_names: Annotated[
        tuple[str, ...] | None, "what tags that are numbers mean, such as O,B-PER,I-PER"
    ] = None,
    repair: Annotated[
        Repair, "tags that break the scheme: an error, or read as the script conlleval does"
    ] = "none",
    misaligned: Annotated[
        Misaligned, "spans that start or end inside a word: an error, grown to words, or dropped"
    ] = "error",
    annotations: Annotated[
        Annotations, "which of a task's annotations in Label Studio; 'one': there may be only one"
    ] = "one",
    only: Sequence[str] = ALL,
) -> Splits:
    """The user's own files, as annotation tools write them; what each was read as is printed."""
    reading = Reading(
        format, encoding, token_column, tag_column, separator, scheme, tag_names, repair,
        misaligned, annotations,
    )  # fmt: skip
    return parted(
        {"train": train, "dev": dev, "test": test},
        read=functools.partial(read_files, read=lambda path: recognise.read(path, reading)),
        dev_fraction=dev_fraction,
        fold=None if folds is None else (fold, folds),
        only=only,
    )


def parted(
    given: Mapping[str, Any],
    *,
    read: Callable[..., Any],
    dev_fraction: float,
    only: Sequence[str],
    fold: tuple[int, int] | None = None,
    hold_out: Callable[..., tuple[Any, Any]] = splitting.hold_out,
) -> dict[str, Any]:
    """The splits of `only` that there are, in order.

    Args:
      given: split -> what it is read from; None: nothing.
      read: (that, setting=the key of the config) -> a split.
      dev_fraction: of train it is dev, where none is given, as `hold_out` makes it; 0: no dev.
      fold: which of how many of train is test, or None.
    """
    if fold is not None and given["test"] is not None:
        raise UserError("data.folds makes test of train; expected data.test=None with it")
    held_out = given["dev"] is None and dev_fraction > 0
    of_train = {"train": True, "dev": held_out, "test": fold is not None}
    splits = {}
    if any(of_train[split] for split in only):
        train = read(given["train"], setting="data.train")
        if fold is not None:
            train, splits["test"] = splitting.fold(train, number=fold[0], of=fold[1])
        if held_out:
            train, splits["dev"] = hold_out(train, fraction=dev_fraction)
        splits["train"] = train
    for split in ("dev", "test"):
        if given[split] is not None and split in only:
            splits[split] = read(given[split], setting=f"data.{split}")
    return {split: splits[split] for split in ALL if split in splits and split in only}


def read_files(
    given: str | Sequence[str], *, setting: str, read: Callable[[str], Sentences]
) -> Sentences:
    """The sentences of all files of a split; says what each was read as."""
    parts = []
    for path in paths_of(given, setting=setting):
        parts.append(read(path))
        if distributed.number() == 0:
            print(f"read {parts[-1].origin.found[0]}", flush=True)
    return splitting.join(parts)


def paths_of(given: str | Sequence[str], *, setting: str) -> list[str]:
    """The files of a split. A text is one file, where there is one of that name, else a pattern, or
    several parted by commas."""
    if not given:
        raise UserError(f"{setting} is empty: give a file with --config.{setting}=PATH")
    if isinstance(given, str):
        given = [given] if os.path.exists(given) else given.split(",")
    paths = []
    for path in map(os.path.expanduser, given):
        if os.path.exists(path) or not glob.has_magic(path):
            paths.append(path)
            continue
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise UserError(f"{setting}={path!r}: no file matches; expected a path or a pattern")
        paths += found
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
SOURCE = Choice("source", SOURCES, "where the sentences come from")
