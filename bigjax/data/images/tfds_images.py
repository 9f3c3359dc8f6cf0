"""Owns the reading of labelled images from datasets that TensorFlow Datasets (TFDS) has prepared.

Finding them and their records belongs to `tfds.py`, decoding to `images.py`.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bigjax.data import prepared
from bigjax.data.images.decoding import Encoded
from bigjax.errors import UserError, nearest


def read(
    name: str,
    *,
    data_dir: str | os.PathLike | None,
    splits: Mapping[str, str],
    image: str = "image",
    label: str = "label",
) -> dict[str, Encoded]:
    """The images of a prepared dataset, by the keys of `splits`, not decoded yet.

    name, data_dir, splits: as `tfds_text.read` takes them.
    image: the name of an image feature (uint8); grey where TFDS says that it has one channel.
    label: the name of a class label, which gives the names of classes.

    UserError: as `tfds_text.read`; and later, from `Encoded.read`, a record without image or class.
    """
    builder = prepared.open_prepared(name, data_dir=data_dir)
    class_names = _class_names(builder.info, image=image, label=label, where=name)
    channels = 1 if builder.info.features[image].shape[-1] == 1 else 3
    return {
        ours: _encoded(
            prepared.records(builder, split=theirs, where=f"{name}:{theirs}"),
            image=image,
            label=label,
            class_names=class_names,
            channels=channels,
            where=f"{name}:{theirs}",
        )
        for ours, theirs in splits.items()
    }


def _class_names(info: Any, *, image: str, label: str, where: str) -> tuple[str, ...]:
    """The names of classes; both features are of a kind we can read."""
    from tensorflow_datasets.core import features

    kinds = {"Image of uint8": features.Image, "ClassLabel": features.ClassLabel}
    for name, (expected, kind) in zip((image, label), kinds.items()):
        if name not in info.features:
            raise UserError(f"{where} has no feature {name!r}; {nearest(name, info.features)}")
        feature = info.features[name]
        is_wide = kind is features.Image and feature.np_dtype != np.uint8
        if not isinstance(feature, kind) or is_wide:
            found = " ".join(str(feature).split())
            raise UserError(f"{where}: feature {name!r} is {found}; expected {expected}")
    return tuple(info.features[label].names)


def _encoded(
    records: prepared.Records,
    *,
    image: str,
    label: str,
    class_names: tuple[str, ...],
    channels: int,
    where: str,
) -> Encoded:
    from tensorflow_datasets.proto import tf_example_pb2

    def read(ids: np.ndarray) -> Iterator[tuple[bytes, int]]:
        numbers = ids.tolist()
        for number, record in zip(numbers, records.read(numbers)):
            feature = tf_example_pb2.Example.FromString(record).features.feature
            stored, classes = feature[image].bytes_list.value, feature[label].int64_list.value
            if len(stored) != 1 or len(classes) != 1:
                found = f"{len(stored)} images and {len(classes)} classes"
                raise UserError(f"{where}: record {number} has {found}; expected one of both")
            if not 0 <= classes[0] < len(class_names):  # -1 is what TFDS puts for no label
                expected = f"expected 0 to {len(class_names) - 1}"
                raise UserError(f"{where}: record {number} has class {classes[0]}; {expected}")
            yield stored[0], classes[0]

    return Encoded(
        read=read,
        name=lambda number: f"{where} record {number}",
        num=records.num,
        class_names=class_names,
        channels=channels,
        where=where,
    )
