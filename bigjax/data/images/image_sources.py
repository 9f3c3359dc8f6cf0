"""Owns which sources of labelled images there are, the settings of each, and the two that need no
format of their own: folders of image files and scikit-learn's digits.

Each source's keyword arguments are the keys of the config's `data` section for that source, but
`only`, which says what of the splits to read, and `class_names`, those of a finished run that is
scored without its training data. Reading
TFDS belongs to `tfds_images.py`, decoding to `images.py`.
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.data.images import augment, decoding, tfds_images
from bigjax.data.images.decoding import Images
from bigjax.errors import UserError, nearest

Splits = dict[str, Images]
ALL = ("train", "dev", "test")
_LAYOUT = "expected FOLDER/CLASS/IMAGE, of images that Pillow reads (*.png, *.jpg, *.tif, ...)"


ImageSize = Annotated[
    int, AtLeast(1), "pixels of the shorter side, cut to the square in the middle"
]
CacheGib = Annotated[
    float,
    AtLeast(0),
    "decoded images are kept in memory where all together take no more than this, in GiB",
]


def prepared_tfds_images(
    *,
    name: Annotated[str, "the data set, with its config if it has some"],
    data_dir: Annotated[
        str | None, "the folder it was prepared in; None: where TFDS keeps its data"
    ] = None,
    train: Annotated[str, "TFDS' expression for the training split, such as 'train[:98%]'"] = (
        "train"
    ),
    dev: Annotated[str | None, "the same for dev; None: there is none"] = None,
    test: Annotated[str | None, "the same for test; None: there is none"] = "test",
    image: Annotated[str, "feature that holds the image"] = "image",
    label: Annotated[str, "feature that holds its class"] = "label",
    image_size: Annotated[
        int | None,
        AtLeast(1),
        "pixels of the shorter side, cut to the square in the middle; None: as stored",
    ] = None,
    cache_gib: CacheGib = 4.0,
    only: Sequence[str] = ALL,
    class_names: Sequence[str] | None = None,  # noqa: ARG001 - the data set names them
) -> Splits:
    """A data set prepared by TensorFlow Datasets (TFDS) as array_record."""
    wanted = {"train": train, "dev": dev, "test": test}
    splits = {
        ours: theirs for ours, theirs in wanted.items() if theirs is not None and ours in only
    }
    encoded = tfds_images.read(name, data_dir=data_dir, splits=splits, image=image, label=label)
    return decoding.load(encoded, image_size=image_size, cache_gib=cache_gib)


def digits(
    *,
    num_dev: Annotated[int, AtLeast(1), "images of dev"] = 150,
    num_test: Annotated[int, AtLeast(1), "images of test"] = 300,
    seed: Annotated[int, AtLeast(0), "which images those are"] = 0,
    only: Sequence[str] = ALL,
    class_names: Sequence[str] | None = None,  # noqa: ARG001 - they are known
) -> Splits:
    """The 1,797 handwritten digits that scikit-learn brings along: grey, 8x8, no file, no network.

    They have no splits of their own: num_dev and num_test of them are held out, with the same share
    of each class.

    Source: https://archive.ics.uci.edu/dataset/80 (the test set of it)
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        missing = "data.source='digits' needs scikit-learn"
        raise UserError(f"{missing}: pip install 'bigjax[digits]'") from error
    values, labels = load_digits(return_X_y=True)
    pixels = np.round(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    if num_dev < 1 or num_test < 1 or num_dev + num_test >= len(labels):
        raise UserError(
            f"data.num_dev={num_dev} and data.num_test={num_test}: expected 1 or more of both and "
            f"fewer than {len(labels)} in all"
        )
    order = _stratified_order(labels, keys=augment.keys(np.arange(len(labels)), seed=seed))
    test, dev, train = np.split(order, [num_test, num_test + num_dev])
    return {
        split: decoding.in_memory(
            pixels[ids], labels=labels[ids], class_names="0123456789", where=f"digits:{split}"
        )
        for split, ids in (("train", train), ("dev", dev), ("test", test))
        if split in only
    }


def image_folder(
    *,
    train: Annotated[str, "the folder of training images, FOLDER/CLASS/IMAGE"],
    dev: Annotated[str | None, "such a folder for dev; None: a share of train"] = None,
    test: Annotated[str | None, "such a folder for test; None: there is none"] = None,
    dev_fraction: Annotated[
        float, Between(0, 0.5), "share of each class of train that is dev where dev is None"
    ] = 0.1,
    image_size: ImageSize = 64,
    cache_gib: CacheGib = 4.0,
    only: Sequence[str] = ALL,
    class_names: Sequence[str] | None = None,
) -> Splits:
    """The user's own image files: a folder for each split, and in it one for each class, which is
    named as the class.

    Images are what Pillow reads, by the ends of their names; files of other kinds are left out and
    counted, hidden ones ignored. Folders inside that of a class are searched too.
    """
    if not 0 <= dev_fraction <= 0.5:
        raise UserError(f"data.dev_fraction={dev_fraction}: expected 0 to 0.5")
    splits = {}
    held_out = dev is None and dev_fraction > 0  # dev is then a part of train
    if "train" in only or ("dev" in only and held_out):
        splits["train"] = _read_folder(train, setting="data.train", known=class_names)
        class_names = splits["train"].class_names
    if held_out and "train" in splits:
        splits["train"], splits["dev"] = _hold_out(splits["train"], fraction=dev_fraction)
    for split, path in (("dev", dev), ("test", test)):
        if path is not None and split in only:
            splits[split] = _read_folder(path, setting=f"data.{split}", known=class_names)
    encoded = {split: _encoded(folder) for split, folder in splits.items() if split in only}
    return decoding.load(encoded, image_size=image_size, cache_gib=cache_gib)


IMAGE_SOURCES: dict[str, Callable[..., Splits]] = {
    "tfds": prepared_tfds_images,
    "digits": digits,
    "folder": image_folder,
}
IMAGE_SOURCE = Choice("source", IMAGE_SOURCES, "where the images come from")


def _stratified_order(labels: np.ndarray, *, keys: np.ndarray) -> np.ndarray:
    """All ids, int64, in an order by random keys of which every beginning holds the classes in the
    proportions of the whole: the k-th of n of a class comes (k + 1/2) / n of the way."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        ids = np.flatnonzero(labels == label)
        place[ids[np.argsort(keys[ids], kind="stable")]] = (np.arange(len(ids)) + 0.5) / len(ids)
    return np.lexsort((keys, place))


# --- folders ---


class _Folder(NamedTuple):
    """Image files of one split: `files` relative to `root`, in order, and the class of each.
    left_out: as in `Images`."""

    root: Path
    files: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    left_out: Mapping[str, int]


def _read_folder(path: str, *, setting: str, known: Sequence[str] | None = None) -> _Folder:
    """The image files in a folder. `known`: the names of classes there may be; None is any."""
    root = Path(path).expanduser()
    if not path:
        raise UserError(f"{setting} is empty: give a folder with --config.{setting}=PATH")
    if not root.is_dir():
        found = "is not a folder" if root.exists() else "does not exist"
        raise UserError(f"{setting}={path!r} {found}; {_LAYOUT}")
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    stray = [entry.name for entry in entries if _is_image(entry)]
    names = tuple(entry.name for entry in entries if entry.is_dir())
    if stray:
        where = "beside its class folders" if names else "and no class folders"
        raise UserError(f"{path} holds images {where} ({stray[0]!r}); {_LAYOUT}")
    least, word = (2, "two") if known is None else (1, "one")
    if len(names) < least:
        holds = f"{path} holds {len(names)} class folders"
        raise UserError(f"{holds}, expected {word} or more; {_LAYOUT}")
    known = names if known is None else known
    for name in names:
        if name not in known:
            raise UserError(
                f"{path}: class {name!r} is not one of data.train; {nearest(name, known)}"
            )
    files: list[str] = []
    labels: list[int] = []
    left_out = Counter(_kind(entry) for entry in entries if not entry.is_dir())
    for name in names:
        inside, others = _files(root / name)
        left_out.update(map(_kind, others))
        if not inside:
            raise UserError(f"{path}: class folder {name!r} holds no image; {_LAYOUT}")
        files += [f"{name}/{file}" for file in inside]
        labels += [known.index(name)] * len(inside)
    return _Folder(root, files, np.array(labels, np.int32), tuple(known), left_out)


def _files(folder: Path) -> tuple[list[str], list[Path]]:
    """The image files in a folder and those inside it, relative to it, in order; and the others."""
    images, others = [], []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or path.is_dir():
            continue
        if _is_image(path):
            images.append(inside.as_posix())
        else:
            others.append(path)
    return sorted(images), others


def image_files(folder: str) -> list[str]:
    """The paths of the image files in a folder and those inside it, in order.

    Raises:
      UserError: there is none.
    """
    inside, _ = _files(Path(folder))
    if not inside:
        raise UserError(f"{folder}: holds no image file")
    return [os.path.join(folder, name) for name in inside]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in decoding.formats() and path.is_file()


def _kind(path: Path) -> str:
    return path.suffix.lower()


def _hold_out(folder: _Folder, *, fraction: float) -> tuple[_Folder, _Folder]:
    """The folder without a share of each class, and that share: which files depends on their names
    alone."""
    digests = [hashlib.sha256(os.fsencode(file)).digest() for file in folder.files]
    keys = np.array([int.from_bytes(digest[:8], "little") for digest in digests], np.uint64)
    num = round(fraction * len(keys))
    if not num:
        raise UserError(
            f"data.dev_fraction={fraction} of the {len(keys)} images of {folder.root} is none; "
            "expected a larger share, 0 for no dev split, or a folder as data.dev"
        )
    order = _stratified_order(folder.labels, keys=keys)
    pick = lambda ids: folder._replace(  # noqa: E731
        files=[folder.files[i] for i in ids], labels=folder.labels[ids]
    )
    return pick(np.sort(order[num:])), pick(np.sort(order[:num]))._replace(left_out={})


def _encoded(folder: _Folder) -> decoding.Encoded:
    return decoding.Encoded(
        read=functools.partial(_paths_and_labels, folder),
        name=lambda i: str(folder.root / folder.files[i]),
        num=len(folder.files),
        class_names=folder.class_names,
        channels=3,
        where=str(folder.root),
        left_out=folder.left_out,
    )


def _paths_and_labels(folder: _Folder, ids: np.ndarray) -> list[tuple[Path, int]]:
    return [(folder.root / folder.files[i], int(folder.labels[i])) for i in ids.tolist()]
