"""Owns the reading of tagged text from datasets that TensorFlow Datasets (TFDS) has prepared.

Finding them and their records belongs to `prepared.py`; what becomes of the sentences belongs to
`windowing.py`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bigjax.data.prepared import Records, open_prepared, records
from bigjax.data.text.sentences import Sentences, collect, with_classes
from bigjax.errors import UserError, nearest

AT_ONCE = 4096  # records that are in memory: as fast as all of them
_SPLITS = MappingProxyType({"train": "train", "dev": "validation", "test": "test"})


def read(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    splits: Mapping[str, str] = _SPLITS,
    tokens: str = "tokens",
    tags: str = "tags",
) -> dict[str, Sentences]:
    """The sentences of a prepared dataset, by the keys of `splits`.

    name: "dataset" or "dataset/config", with ":1.2.3" behind it for a version; else the newest
    prepared version, and the default config.
    data_dir: the folder in which TFDS prepared it; None is the one that TFDS uses by itself
    ($TFDS_DATA_DIR or ~/tensorflow_datasets).
    splits: our names to those of TFDS, slices and sums included ("train[:90%]", "train+test").
    tokens: the name of a feature that is a sequence of text.
    tags: the name of one that is a sequence of class labels, which gives their names, or of text.
    Both are taken as they are, so tags of entities must be in IOB2; those of WikiANN are.

    A record without tokens is left out. UserError: the `tensorflow_datasets` package is missing;
    the dataset, version, split or feature is not there, or not of a kind that can be read; a
    record has a token without a tag.

    Source: https://www.tensorflow.org/datasets/data_source
    """
    builder = open_prepared(name, data_dir=data_dir)
    class_names = _class_names(builder.info, tokens=tokens, tags=tags, where=name)
    return {
        ours: _read_split(
            records(builder, split=theirs, where=f"{name}:{theirs}"),
            where=f"{name}:{theirs}",
            tokens=tokens,
            tags=tags,
            class_names=class_names,
        )
        for ours, theirs in splits.items()
    }


def _class_names(info: Any, *, tokens: str, tags: str, where: str) -> Mapping[int, str] | None:
    """Tags by class id, or None where tags are text; both features are of a kind we can read."""
    from tensorflow_datasets.core import features

    for name, kinds in ((tokens, "text"), (tags, "class labels or text")):
        if name not in info.features:
            raise UserError(f"{where} has no feature {name!r}; {nearest(name, info.features)}")
        element = getattr(info.features[name], "feature", None)  # of a Sequence
        is_labels = "labels" in kinds and isinstance(element, features.ClassLabel)
        is_text = element is not None and element.np_dtype == "O" and element.shape == ()
        if not is_labels and not is_text:
            found = " ".join(str(info.features[name]).split())
            raise UserError(f"{where}: feature {name!r} is {found}; expected Sequence of {kinds}")
    return dict(enumerate(element.names)) if is_labels else None


def _read_split(
    records: Records,
    *,
    where: str,
    tokens: str,
    tags: str,
    class_names: Mapping[int, str] | None,
) -> Sentences:
    # A record is a tf.train.Example. Taking two lists out of it by hand is four times as fast as
    # the decoder of TFDS, which goes over all features and makes an array of each.
    from tensorflow_datasets.proto import tf_example_pb2

    def tagged() -> Iterator[tuple[list[str], list[str]]]:
        for index, record in enumerate(_one_by_one(records)):
            feature = tf_example_pb2.Example.FromString(record).features.feature
            try:
                words = [token.decode() for token in feature[tokens].bytes_list.value]
                if class_names is None:
                    names = [tag.decode() for tag in feature[tags].bytes_list.value]
                else:
                    names = [class_names[tag] for tag in feature[tags].int64_list.value]
            except KeyError as error:  # -1 is what TFDS puts where there is no label
                found = f"{where}: record {index} has class {error}"
                raise UserError(f"{found}; expected a tag") from error
            except UnicodeDecodeError as error:
                raise UserError(f"{where}: record {index} is not UTF-8: {error}") from error
            if len(words) != len(names):
                lengths = f"{len(words)} tokens and {len(names)} tags"
                raise UserError(f"{where}: record {index} has {lengths}; expected as many of both")
            if words:
                yield words, names

    sentences = collect(tagged(), where=where)
    if not len(sentences.words):
        raise UserError(f"{where} has no sentence; expected records with tokens")
    return sentences


def _one_by_one(records: Records) -> Iterator[bytes]:
    for begin in range(0, records.num, AT_ONCE):
        yield from records.read(range(begin, min(begin + AT_ONCE, records.num)))


# --- texts with classes ---


def read_classes(
    name: str,
    *,
    data_dir: str | os.PathLike | None,
    splits: Mapping[str, str],
    text: str,
    label: str,
) -> dict[str, Sentences]:
    """The texts of a prepared dataset with their classes, by the keys of `splits`; arguments as of
    `read`.

    text: the name of a feature of text. label: of a class label, of text, or of a sequence of
      either. A class label of -1 is none.

    UserError: as of `read`.
    """
    builder = open_prepared(name, data_dir=data_dir)
    names = _names_of_label(builder.info, text=text, label=label, where=name)
    return {
        ours: with_classes(
            _classified(
                records(builder, split=theirs, where=f"{name}:{theirs}"),
                where=f"{name}:{theirs}",
                text=text,
                label=label,
                names=names,
            ),
            where=f"{name}:{theirs}",
        )
        for ours, theirs in splits.items()
    }


def _names_of_label(info: Any, *, text: str, label: str, where: str) -> Sequence[str] | None:
    """The names of class labels; None where labels are text."""
    from tensorflow_datasets.core import features

    for name in (text, label):
        if name not in info.features:
            raise UserError(f"{where} has no feature {name!r}; {nearest(name, info.features)}")
    is_text = lambda x: x is not None and x.np_dtype == "O" and x.shape == ()  # noqa: E731
    if not is_text(info.features[text]):
        raise UserError(f"{where}: feature {text!r} is no text; name another as data.text")
    found = info.features[label]
    element = getattr(found, "feature", found)  # of a Sequence
    if isinstance(element, features.ClassLabel):
        return element.names
    if not is_text(element):
        shown = " ".join(str(found).split())
        raise UserError(f"{where}: feature {label!r} is {shown}; expected class labels or text")
    return None


def _classified(
    records: Records, *, where: str, text: str, label: str, names: Sequence[str] | None
) -> Iterator[tuple[list[str], list[str]]]:
    from tensorflow_datasets.proto import tf_example_pb2

    for index, record in enumerate(_one_by_one(records)):
        feature = tf_example_pb2.Example.FromString(record).features.feature
        try:
            (words,) = (value.decode().split() for value in feature[text].bytes_list.value)
            found = feature[label]
            if names is None:
                classes = [" ".join(x.decode().split()) for x in found.bytes_list.value]
            else:
                classes = [names[i] for i in found.int64_list.value if i >= 0]
        except (UnicodeDecodeError, ValueError) as error:
            raise UserError(f"{where}: record {index} cannot be read: {error}") from error
        yield words, classes
