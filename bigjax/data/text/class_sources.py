"""Owns which sources of texts with classes there are, and the settings of each.

How a format is read belongs to its module. As of `text_sources.py`, each function's keyword
arguments are the keys of the config's `data` section, but `only`, which splits to read.
"""

import functools
from collections.abc import Sequence
from typing import Annotated

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.data.text import class_files, news, tfds_text
from bigjax.data.text.class_files import Reading
from bigjax.data.text.text_sources import ALL, Files, Splits, parted, read_files


def embedded_topics(
    *,
    num_train: Annotated[int, AtLeast(0), "training sentences"] = 1000,
    num_dev: Annotated[int, AtLeast(0), "sentences of dev"] = 500,
    num_test: Annotated[int, AtLeast(0), "sentences of test"] = 2000,
    seed: Annotated[int, "which sentences are written"] = 0,
    only: Sequence[str] = ALL,
) -> Splits:
    """Sentences of the generated corpus of `news.py` by what they are about: no file, no network.
    No name and not every form of a sentence of test is in training."""
    splits = news.read_topics(num_train=num_train, num_dev=num_dev, num_test=num_test, seed=seed)
    return {split: found for split, found in splits.items() if split in only}


def prepared_tfds(
    *,
    name: Annotated[str, "the data set, with its config: 'glue/sst2'"],
    data_dir: Annotated[
        str | None, "the folder it was prepared in; None: where TFDS keeps its data"
    ] = None,
    train: Annotated[str, "TFDS' expression for the training split, such as 'train[:10%]'"] = (
        "train"
    ),
    dev: Annotated[str, "the same for dev"] = "validation",
    test: Annotated[str | None, "the same for test; None: there is none"] = "test",
    text: Annotated[str, "feature that holds the text"] = "text",
    label: Annotated[str, "feature that holds its class, or a sequence of several"] = "label",
    only: Sequence[str] = ALL,
) -> Splits:
    """A data set prepared by TensorFlow Datasets (TFDS) as array_record."""
    given = {"train": train, "dev": dev, "test": test}
    splits = {split: said for split, said in given.items() if split in only and said is not None}
    return tfds_text.read_classes(name, data_dir=data_dir, splits=splits, text=text, label=label)


def class_tables(
    *,
    train: Annotated[
        Files,
        "CSV, TSV or JSONL of training texts, several, a pattern, or a folder with a sub-folder "
        "for each class",
    ],
    dev: Annotated[Files | None, "the same for dev; None: a share of train"] = None,
    test: Annotated[Files | None, "the same for test; None: there is none"] = None,
    dev_fraction: Annotated[float, Between(0, 0.9), "that share, by a hash of the words"] = 0.1,
    text_column: Annotated[
        str | None, "column or key that holds the text; None: by names such as 'text'"
    ] = None,
    label_column: Annotated[
        str | tuple[str, ...] | None,
        "the same of the class; several columns are classes of which each holds 0 or 1; None: by "
        "names such as 'label'",
    ] = None,
    label_separator: Annotated[
        str | None, "what parts several classes in a cell, such as '|'; None: it is one class"
    ] = None,
    label_names: Annotated[
        tuple[str, ...] | None, "what labels that are numbers mean, from 0: negative,positive"
    ] = None,
    delimiter: Annotated[
        str | None, "what parts the cells; None: the comma, semicolon, tab or bar that fits"
    ] = None,
    header: Annotated[
        bool, "whether the first line names the columns; else they are column_1, column_2, ..."
    ] = True,
    encoding: Annotated[str, "of the files"] = "utf-8",
    only: Sequence[str] = ALL,
) -> Splits:
    """The user's own texts; what each file was read as is printed."""
    reading = Reading(
        text_column, label_column, label_separator, label_names, delimiter, header, encoding
    )
    return parted(
        {"train": train, "dev": dev, "test": test},
        read=functools.partial(read_files, read=lambda path: class_files.read(path, reading)),
        dev_fraction=dev_fraction,
        only=only,
    )


CLASS_SOURCES = {"news": embedded_topics, "tfds": prepared_tfds, "files": class_tables}
CLASS_SOURCE = Choice("source", CLASS_SOURCES, "where the texts come from")
