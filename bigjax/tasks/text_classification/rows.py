"""Owns texts with classes as rows: windows of sub-words, which of them share a row, and what of a
batch says which classes; and back, from rows of outputs to texts.

A text that is longer than a row is several windows, in any rows and batches. Each counts by its
share of the text, which is how many of its sub-words it owns: in the losses, and where logits of
windows become those of a text, their mean so weighed. Suffixes: B batch rows, S the most windows
that a row holds, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.dataset import Batch, Dataset
from bigjax.data.text import packing, windowing
from bigjax.data.text.packing import Packing
from bigjax.data.text.sentences import Sentences
from bigjax.data.text.windowing import Windows
from bigjax.errors import UserError


class Split(NamedTuple):
    """A split ready for the model.

    targets: of each text its class, int32 (N,); or where it may have any number, bool (N, C).
    share: float32 (num_windows,), of each window, which part of its text is its own.
    """

    sentences: Sentences
    windows: Windows
    targets: np.ndarray
    share: np.ndarray
    packing: Packing

    @property
    def most(self) -> int:
        """The most windows that a row holds."""
        return int(np.diff(self.packing.row_offsets).max())


def encode_split(
    sentences: Sentences, *, names: Sequence[str], multi: bool, tokenizer: Any, row_length: int
) -> Split:
    """A split as windows of sub-words, its classes as numbers, and the plan of its rows.

    Raises:
      UserError: a class that is not one of `names`; of texts of one class one that has another
        number of them.
    """
    windows = windowing.make_windows(sentences.words, tokenizer=tokenizer, row_length=row_length)
    owned = (windows.owned[:, 1] - windows.owned[:, 0]).astype(np.float64)
    share = owned / np.bincount(windows.sentences, weights=owned)[windows.sentences]
    return Split(
        sentences,
        windows,
        _targets(sentences, names=names, multi=multi),
        share.astype(np.float32),
        packing.plan(windows.lengths, row_length=row_length),
    )


def _targets(sentences: Sentences, *, names: Sequence[str], multi: bool) -> np.ndarray:
    number = {name: i for i, name in enumerate(names)}
    found = sentences.tags
    unknown = [name for name in found.distinct if name not in number]
    if unknown:
        raise UserError(
            f"{sentences.where}: class {unknown[0]!r} is not one that the model knows: "
            f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"
        )
    ids = np.array([number[name] for name in found.distinct] or [0], np.int32)[found.ids]
    if multi:
        targets = np.zeros((len(found), len(names)), bool)
        targets[np.repeat(np.arange(len(found)), found.lengths), ids] = True
        return targets
    wrong = np.flatnonzero(found.lengths != 1)
    if wrong.size:
        first = int(wrong[0])
        has = ", ".join(found[first]) or "none"
        raise UserError(
            f"{place(sentences, first)}: expected one class, found {has}; texts of any number of "
            "classes are for --config.loss.kind=multi"
        )
    return ids


def place(sentences: Sentences, number: int) -> str:
    """Where a text stands: "file:line" where it is from files."""
    if len(sentences.origin.file):
        return sentences.origin.place(number)
    return f"{sentences.where}, text {number + 1}"


Change = Callable[[Batch, Sequence[np.ndarray], np.ndarray], Batch]


def dataset(
    split: Split,
    *,
    rows: Callable[..., Any],
    batch_rows: int,
    targets: Callable[..., Batch] | None = None,
    change: Change | None = None,
) -> Dataset:
    """Rows of tokens, segments and positions, int32 (B, L), as `windowing.fill_rows` has them;
    mask, bool (B, S), which places of a row have a window; weight, float32 (B, S), its share of its
    text; and what `targets` adds.

    Args:
      rows: row numbers (n,) -> the numbers of each row's windows; `packing.epochs` or `once`.
      targets: (texts' numbers (B, S), mask, split) -> more arrays; None: nothing is labelled.
      change: (batch, windows of each row, row numbers) -> the batch, its words changed.
    """
    most = split.most

    def make_rows(numbers: np.ndarray) -> Batch:
        examples = rows(numbers)
        batch = windowing.fill_rows(split.windows, examples, row_length=split.packing.row_length)
        if change is not None:
            batch = change(batch, examples, numbers)
        del batch["words"]
        ids = np.full((len(examples), most), -1)
        for row, windows in enumerate(examples):
            ids[row, : len(windows)] = windows
        mask = ids >= 0
        batch |= {"mask": mask, "weight": np.where(mask, split.share[ids], np.float32(0))}
        return batch | (targets(split.windows.sentences[ids], mask, split) if targets else {})

    return Dataset(
        rows=make_rows,
        examples=lambda numbers: [split.windows.sentences[ids] for ids in rows(numbers)],
        batch_rows=batch_rows,
        num_rows=split.packing.num_rows,
        num_examples=len(split.sentences.words),
        fill=split.packing.fill,
        fingerprint=split.sentences.fingerprint(),
    )


def labelled(texts: np.ndarray, mask: np.ndarray, split: Split) -> Batch:
    """label: int32 (B, S), or (B, S, C) of 0 and 1 where texts have any number of classes."""
    found = split.targets[texts]
    there = mask.reshape(mask.shape + (1,) * (found.ndim - 2))
    return {"label": np.where(there, found, 0).astype(np.int32)}


def by_text(split: Split, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The logits of each text, float (N, C): of one in several windows the mean of theirs, each
    weighed by its share.

    Args:
      outputs: logits (R, S, C) of all rows of the split, in the order of `packing.once`.
    """
    logits = outputs["logits"]
    examples = packing.once(split.packing)(np.arange(split.packing.num_rows))
    row = np.repeat(np.arange(len(examples)), [len(ids) for ids in examples])
    slot = np.concatenate([np.arange(len(ids)) for ids in examples])
    windows = np.concatenate(examples)
    of_window = np.empty((len(windows), logits.shape[-1]), logits.dtype)
    of_window[windows] = logits[row, slot]
    sentences, num = split.windows.sentences, len(split.sentences.words)
    if len(windows) == num:
        return of_window
    found = np.zeros((num, logits.shape[-1]), np.float64)
    np.add.at(found, sentences, of_window * split.share[:, None].astype(np.float64))
    return found.astype(logits.dtype)
