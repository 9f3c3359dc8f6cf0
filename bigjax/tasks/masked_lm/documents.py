"""Owns plain text as it comes from files, TFDS or the embedded corpus: documents, and which of them
are held out.

What a document becomes in rows belongs to `pieces.py`.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.data import prepared
from bigjax.data.text import news
from bigjax.data.text.annotated import read_text, split_lines
from bigjax.data.text.json_records import TEXT_KEYS
from bigjax.data.text.splitting import places
from bigjax.data.text.text_sources import ALL, Files, parted, paths_of
from bigjax.errors import UserError, nearest

_AT_ONCE = 4096  # records of TFDS that are in memory
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")

Format = Literal["auto", "text", "jsonl"]
Unit = Literal["paragraphs", "lines", "files"]


class Documents(NamedTuple):
    """Texts of a split, in the order of the source, none of them blank.

    where: what they come from, for messages. num_blank: what was left out as it held no text.
    """

    texts: Sequence[str]
    where: str
    num_blank: int = 0

    def fingerprint(self) -> str:
        """sha256 (hex) of the content, not the path."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(text.encode() + b"\x1e")
        return digest.hexdigest()


Splits = dict[str, Documents]


def text_files(
    *,
    train: Annotated[Files, "file of text, several, or a pattern ('data/*.txt')"],
    dev: Annotated[Files | None, "the same for dev; None: a share of train's documents"] = None,
    test: Annotated[Files | None, "the same for test; None: there is none"] = None,
    dev_fraction: Annotated[
        float, Between(0, 0.9), "that share, by a hash of the text; 0: no dev"
    ] = 0.05,
    format: Annotated[
        Format, "'text', or 'jsonl': a record a line with a text; 'auto': by the file's ending"
    ] = "auto",
    documents: Annotated[
        Unit,
        "what a document of a text file is: 'paragraphs' parted by blank lines, each of its "
        "'lines', or the whole of 'files'",
    ] = "paragraphs",
    text_key: Annotated[str | None, "key of the text in a record; None: by usual names"] = None,
    encoding: Annotated[str, "of the files' characters, such as 'latin-1'"] = "utf-8",
    only: Sequence[str] = ALL,
) -> Splits:
    """The user's own files: plain text, or JSON lines."""
    given = {"train": train, "dev": dev, "test": test}
    reading = {
        "format": format, "documents": documents, "text_key": text_key, "encoding": encoding,
    }  # fmt: skip
    return parted(
        given,
        read=functools.partial(_read, **reading),
        dev_fraction=dev_fraction,
        only=only,
        hold_out=hold_out,
    )


def prepared_tfds(
    *,
    name: Annotated[str, "the data set, with its config: 'wikipedia/20230601.en'"],
    data_dir: Annotated[
        str | None, "the folder it was prepared in; None: where TFDS keeps its data"
    ] = None,
    train: Annotated[str, "TFDS' expression for the training split, such as 'train[:10%]'"] = (
        "train"
    ),
    dev: Annotated[str | None, "the same for dev; None: a share of train's documents"] = None,
    test: Annotated[str | None, "the same for test; None: there is none"] = None,
    dev_fraction: Annotated[
        float, Between(0, 0.9), "that share, by a hash of the text; 0: no dev"
    ] = 0.05,
    text: Annotated[str, "feature that holds the text; of a sequence, its words"] = "text",
    only: Sequence[str] = ALL,
) -> Splits:
    """A data set prepared by TensorFlow Datasets (TFDS) as array_record; a record is a document."""
    builder = prepared.open_prepared(name, data_dir=data_dir)
    _check_feature(builder.info, text, where=name)
    return parted(
        {"train": train, "dev": dev, "test": test},
        read=lambda split, setting: _read_records(  # noqa: ARG005
            builder, split, text=text, where=f"{name}:{split}"
        ),
        dev_fraction=dev_fraction,
        only=only,
        hold_out=hold_out,
    )


def embedded_news(
    *,
    num_train: Annotated[int, AtLeast(1), "training sentences"] = 5000,
    num_dev: Annotated[int, AtLeast(0), "sentences of dev"] = 500,
    num_test: Annotated[int, AtLeast(0), "sentences of test"] = 0,
    seed: Annotated[int, "which sentences are written"] = 0,
    only: Sequence[str] = ALL,
) -> Splits:
    """The generated corpus of `data/text/news.py`, a document a sentence: no file, no network."""
    found = news.read(num_train=num_train, num_dev=num_dev, num_test=num_test, seed=seed)
    return {
        split: Documents([" ".join(words) for words in sentences.words], sentences.where)
        for split, sentences in found.items()
        if split in only and len(sentences.words)
    }


def hold_out(documents: Documents, *, fraction: float) -> tuple[Documents, Documents]:
    """The documents without a share of them, and that share, by a hash of the text alone: equal
    ones stay together, and neither the order of the files nor a seed changes it.

    Raises:
      UserError: the share, or what it leaves, is nothing.
    """
    place = places(np.array([key(text) for text in documents.texts], np.uint64))
    held = place < round(fraction * len(place))
    if held.all() or not held.any():
        raise UserError(
            f"data.dev_fraction={fraction} of the {len(held)} documents of {documents.where} is "
            f"{'all' if held.all() else 'none'} of them; expected a share that leaves some to "
            "both, 0 for no dev split, a file as data.dev, or smaller documents "
            "(data.documents='lines')"
        )
    part = lambda ids: [documents.texts[i] for i in np.flatnonzero(ids).tolist()]  # noqa: E731
    where = f"{fraction:.0%} of {documents.where}"
    return documents._replace(texts=part(~held)), Documents(part(held), where)


def key(text: str) -> int:
    """A number of 64 bits that stands for the text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


# --- files ---


def _read(
    given: Files, *, setting: str, format: Format, documents: Unit, text_key: str | None,
    encoding: str,
) -> Documents:  # fmt: skip
    texts: list[str] = []
    paths, num_blank = paths_of(given, setting=setting), 0
    folder = next(filter(os.path.isdir, paths), None)
    if folder is not None:
        raise UserError(f"{setting}: {folder} is a folder; expected files, as '{folder}/*.txt'")
    for path in paths:
        is_json = format == "jsonl" or (format == "auto" and path.lower().endswith(_JSON_ENDINGS))
        content = read_text(path, encoding=encoding, what="text")
        if is_json:
            found = _of_records(split_lines(content), path=path, text_key=text_key)
        else:
            found = _of_text(content, documents=documents)
        for text in found:
            if text:
                texts.append(text)
            else:
                num_blank += 1
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    if not texts:
        raise UserError(f"{where}: holds no text; expected documents parted by blank lines")
    return Documents(texts, where, num_blank)


def _of_text(content: str, *, documents: Unit) -> Iterator[str]:
    if documents == "files":
        yield content.strip()
        return
    lines = (line.strip() for line in split_lines(content))
    if documents == "lines":
        yield from (line for line in lines if line)
        return
    paragraph: list[str] = []
    for line in lines:
        if line:
            paragraph.append(line)
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph = []
    if paragraph:
        yield "\n".join(paragraph)


def _of_records(lines: Sequence[str], *, path: str, text_key: str | None) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deeply")
            raise UserError(
                f"{place}: not JSON ({reason}); expected an object with a text a line, or name "
                "plain text with --config.data.format=text"
            ) from None
        yield _text_of(value, text_key=text_key, place=place)


def _text_of(value: Any, *, text_key: str | None, place: str) -> str:
    if isinstance(value, str) and text_key is None:
        return _whole(value, place=place)
    if not isinstance(value, Mapping):
        raise UserError(f"{place}: expected an object with a text, found {str(value)[:40]!r}")
    names = TEXT_KEYS if text_key is None else (text_key,)
    found = next((value[name] for name in names if isinstance(value.get(name), str)), None)
    if found is None:
        keys = ", ".join(map(repr, list(value)[:8])) or "nothing"
        raise UserError(
            f"{place}: expected a text as {' or '.join(map(repr, names))}, found {keys}; name its "
            "key with --config.data.text_key"
        )
    return _whole(found, place=place)


def _whole(text: str, *, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{place}: half a character (a lone surrogate); correct the file") from None
    return text.strip()


# --- TFDS ---


def _check_feature(info: Any, name: str, *, where: str) -> None:
    if name not in info.features:
        raise UserError(f"{where} has no feature {name!r}; {nearest(name, info.features)}")
    feature = info.features[name]
    element = getattr(feature, "feature", feature)  # of a sequence
    if getattr(element, "np_dtype", None) != "O" or element.shape != ():
        found = " ".join(str(feature).split())
        raise UserError(f"{where}: feature {name!r} is {found}; expected text, or words")


def _read_records(builder: Any, split: str, *, text: str, where: str) -> Documents:
    from tensorflow_datasets.proto import tf_example_pb2

    records = prepared.records(builder, split=split, where=where)
    texts, num_blank = [], 0
    for begin in range(0, records.num, _AT_ONCE):
        numbers = range(begin, min(begin + _AT_ONCE, records.num))
        for index, record in zip(numbers, records.read(numbers)):
            values = tf_example_pb2.Example.FromString(record).features.feature[text]
            try:
                found = " ".join(part.decode() for part in values.bytes_list.value).strip()
            except UnicodeDecodeError as error:
                raise UserError(f"{where}: record {index} is not UTF-8: {error}") from error
            texts += [found] if found else []
            num_blank += not found
    if not texts:
        raise UserError(f"{where} has no text; expected records with some")
    return Documents(texts, where, num_blank)


SOURCE = Choice(
    "source",
    {"files": text_files, "tfds": prepared_tfds, "news": embedded_news},
    "where the text comes from",
)
