"""Owns finding datasets that TensorFlow Datasets (TFDS) has prepared, and access to their records.

Reads files and nothing else: it never downloads, prepares or imports TensorFlow. What is in a
record belongs to `text/tfds_text.py` and `images/tfds_images.py`.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from bigjax.errors import UserError, nearest

_NAME = re.compile(r"(\w+)(?:/([^/:]+))?(?::(\d+\.\d+\.\d+))?")


class Records(NamedTuple):
    """The records of a split, each a serialised tf.train.Example.

    read: numbers (n,) -> n records. Thread-safe; many at once are 10 times as fast as one by one.
      Raises UserError where a file is lost or damaged.
    """

    num: int
    read: Callable[[Sequence[int]], Sequence[bytes]]


def open_prepared(name: str, *, data_dir: str | os.PathLike | None) -> Any:
    """TFDS's builder of a prepared dataset, for `records` and its `info`; arguments as `read`.

    Raises:
      UserError: the package, the dataset or the version is missing, or it is not in array_record.
    """
    tfds = _import_tfds()
    folder = _find_prepared(name, data_dir=data_dir)
    builder = tfds.builder_from_directory(folder)
    formats = sorted(each.value for each in builder.info.available_file_formats())
    if "array_record" not in formats:
        root = _data_dir(data_dir)
        beside = root.with_name(f"{root.name}_array_record")
        raise UserError(
            f"{folder} holds {' and '.join(formats)} files, expected array_record; "
            f"{_how_to_prepare(name, data_dir=beside)}, and give that folder as data_dir"
        )
    return builder


def records(builder: Any, *, split: str, where: str) -> Records:
    """The records of a TFDS split expression ("train[:90%]", "train+test").

    Raises:
      UserError: no such split, or not a slice of it.
    """
    from tensorflow_datasets import decode

    known = builder.info.splits
    for part in split.split("+"):
        name = part.split("[")[0].strip()
        if name not in (*known, "all"):
            raise UserError(f"{where}: no split {name!r}; {nearest(name, known)}")

    def read(numbers: Sequence[int]) -> Sequence[bytes]:
        with _reading(builder, where=where):
            return source.__getitems__(numbers)

    with _reading(builder, where=where):
        if known[split].num_examples < 1:  # "train[:0]", "train[9:5]"
            return Records(0, lambda _: [])
        raw = decode.DeserializeMethod.RAW_BYTES
        source = builder.as_data_source(split, deserialize_method=raw, file_format="array_record")
        return Records(len(source), read)


@contextlib.contextmanager
def _reading(builder: Any, *, where: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError) as error:  # a bad slice; a file that is lost or damaged
        reason = " ".join(str(error).split())
        raise UserError(f"{where} cannot be read from {builder.data_dir}: {reason}") from error


def _import_tfds() -> ModuleType:
    try:
        import array_record  # noqa: F401 (TFDS imports it no sooner than it reads)
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        missing = f"reading TFDS data needs the package {error.name!r}"
        raise UserError(f"{missing}: pip install 'bigjax[tfds]'") from error
    return tensorflow_datasets


# --- where a dataset is ---


def _data_dir(data_dir: str | os.PathLike | None) -> Path:
    found = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    try:
        os.fspath(found).encode()
    except UnicodeEncodeError as error:
        problem = "its path is not UTF-8, and array_record opens no other"
        raise UserError(f"data_dir={found}: {problem}; rename the folder, or link to it") from error
    return found


def _find_prepared(name: str, *, data_dir: str | os.PathLike | None) -> Path:
    """The folder of the wanted version. Looked for here because TFDS would import the dataset's
    code first and, where nothing is prepared, try to download for minutes."""
    match = _NAME.fullmatch(name)
    if match is None:
        expected = "'dataset' or 'dataset/config', or ':1.2.3' behind either"
        raise UserError(f"{name!r} cannot be the name of a dataset; expected {expected}")
    dataset, config, version = match.groups()
    root = _data_dir(data_dir)
    home = root / dataset
    if config is None and not _versions(home):
        config = _default_config(home)
    folder = home / config if config else home
    versions = _versions(folder)
    if versions and version in (None, *versions):
        return folder / (version or versions[-1])
    if versions:
        raise UserError(f"{folder} has no version {version}; {nearest(version, versions)}")
    hint = nearest(name, _all_prepared(root))
    # Not compared with the names that TFDS knows: without TensorFlow it does not know its own.
    raise UserError(
        f"dataset {name!r} is not prepared: looked in {folder}, {hint}; "
        f"{_how_to_prepare(name, data_dir=root)}"
    )


def _versions(folder: Path) -> list[str]:
    """The versions prepared in `folder`, the newest last."""
    names = [place.parent.name for place in folder.glob("*.*.*/features.json")]
    finished = [name for name in names if re.fullmatch(r"\d+\.\d+\.\d+", name)]
    return sorted(finished, key=lambda version: [int(part) for part in version.split(".")])


def _default_config(home: Path) -> str | None:
    try:
        return json.loads((home / ".config" / "metadata.json").read_text())["default_config_name"]
    except FileNotFoundError:
        return None  # TFDS writes it only for datasets that have configs


def _all_prepared(root: Path) -> list[str]:
    """The names ("dataset" or "dataset/config") of all that is prepared in `root`."""
    places = [*root.glob("*/*.*.*/features.json"), *root.glob("*/*/*.*.*/features.json")]
    return sorted({place.parents[1].relative_to(root).as_posix() for place in places})


def _how_to_prepare(name: str, *, data_dir: Path) -> str:
    arguments = f"{name!r}, data_dir={os.fspath(data_dir)!r}, file_format='array_record'"
    return (
        "to prepare it, on a machine with a network: "
        "pip install tensorflow tensorflow-datasets importlib_resources; "
        'python -c "import tensorflow_datasets as tfds; '
        f'tfds.builder({arguments}).download_and_prepare()"'
    )


# --- what it holds ---
