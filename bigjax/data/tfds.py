"""Owns finding datasets that TensorFlow Datasets (TFDS) has prepared, access to their records, and
the reading of tagged text from them.

Reads files and nothing else: it never downloads, prepares or imports TensorFlow. Images from TFDS
belong to `tfds_images.py`; what becomes of the sentences belongs to `text.py`.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from bigjax.data.sentences import Sentences
from bigjax.errors import UserError, nearest

_NAME = re.compile(r"(\w+)(?:/([^/:]+))?(?::(\d+\.\d+\.\d+))?")
_SPLITS = MappingProxyType({"train": "train", "dev": "validation", "test": "test"})


class Records(NamedTuple):
    """The records of a split, each a serialised tf.train.Example.

    read: numbers (n,) -> n records. Thread-safe; many at once are 10 times as fast as one by one.
      Raises UserError where a file is lost or damaged.
    """

    num: int
    read: Callable[[Sequence[int]], Sequence[bytes]]


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
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


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

    sentences = Sentences(words=[], tags=[], where=where)
    for index, record in enumerate(records.read(range(records.num))):
        feature = tf_example_pb2.Example.FromString(record).features.feature
        try:
            words = [token.decode() for token in feature[tokens].bytes_list.value]
            if class_names is None:
                names = [tag.decode() for tag in feature[tags].bytes_list.value]
            else:
                names = [class_names[tag] for tag in feature[tags].int64_list.value]
        except KeyError as error:  # -1 is what TFDS puts where there is no label
            raise UserError(f"{where}: record {index} has class {error}; expected a tag") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: record {index} is not UTF-8: {error}") from error
        if len(words) != len(names):
            lengths = f"{len(words)} tokens and {len(names)} tags"
            raise UserError(f"{where}: record {index} has {lengths}; expected as many of both")
        if words:
            sentences.words.append(words)
            sentences.tags.append(names)
    if not sentences.words:
        raise UserError(f"{where} has no sentence; expected records with tokens")
    return sentences
