"""Owns the reading of tagged text from datasets that TensorFlow Datasets (TFDS) has prepared.

Finding them and their records belongs to `prepared.py`; what becomes of the sentences belongs to
`windowing.py`.
"""

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from bigjax.data.prepared import Records, open_prepared, records
from bigjax.data.text.sentences import Sentences, collect
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
