"""Owns which sources of tagged sentences there are, and the settings of each.

How a format is read belongs to its module. Each function's keyword arguments are the keys of the
config's `data` section for that source, but
`only`, which says what of the splits to read: a finished run is scored without its training data.
"""

from collections.abc import Sequence
from typing import Literal

from bigjax.data.text import conll, news, tfds_text
from bigjax.data.text.sentences import Sentences
from bigjax.errors import UserError

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


def conll_files(
    *,
    source: Literal["conll"],  # noqa: ARG001
    train: str,
    dev: str,
    test: str | None = None,
    token_column: int = 0,
    tag_column: int = -1,
    separator: str | None = None,
    scheme: Literal["auto", "iob1", "iob2", "bioes", "bilou", "bmewo", "bmes", "none"] = "auto",
    only: Sequence[str] = ALL,
) -> Splits:
    """The user's own CoNLL column files, one for each split."""
    given = {"train": train, "dev": dev, "test": test}
    paths = {split: path for split, path in given.items() if split in only}
    for split, path in paths.items():
        if path == "":
            raise UserError(f"data.{split} is empty: give a file with --config.data.{split}=PATH")
    return {
        split: conll.read(
            path,
            token_column=token_column,
            tag_column=tag_column,
            separator=separator,
            scheme=scheme,
        )
        for split, path in paths.items()
        if path is not None
    }


SOURCES = {"news": embedded_news, "tfds": prepared_tfds, "conll": conll_files}
