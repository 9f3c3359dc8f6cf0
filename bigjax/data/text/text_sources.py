"""Owns which sources of tagged sentences there are, and the settings of each.

How a format is read belongs to its module. Each function's keyword arguments are the keys of the
config's `data` section for that source, but
`only`, which says what of the splits to read: a finished run is scored without its training data.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.data.text import conll, news, tfds_text
from bigjax.data.text.sentences import Sentences
from bigjax.errors import UserError

Splits = dict[str, Sentences]
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


def conll_files(
    *,
    train: Annotated[str, "the file of training sentences"],
    dev: Annotated[str, "the file by which the best checkpoint is chosen"],
    test: Annotated[str | None, "the file of the final scores; None: there is none"] = None,
    token_column: Annotated[int, "column of the word, from 0, negative from the end"] = 0,
    tag_column: Annotated[int, "column of its tag, from 0, negative from the end"] = -1,
    separator: Annotated[
        str | None, "between columns; None: tabs where the first line has one, else spaces"
    ] = None,
    scheme: Annotated[
        Literal["auto", "iob1", "iob2", "bioes", "bilou", "bmewo", "bmes", "none"],
        "how tags mark entities; 'none': they do not, as parts of speech; 'auto': by the tags",
    ] = "auto",
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
SOURCE = Choice("source", SOURCES, "where the sentences come from")
