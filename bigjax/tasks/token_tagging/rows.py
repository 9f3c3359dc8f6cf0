"""Owns tagged sentences as rows: windows of sub-words, labels of words, and which windows share a
row; and back, from rows of outputs to words."""

import itertools
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

    labels: int32 (num_words,), the number of each word's tag, over the whole split.
    """

    sentences: Sentences
    windows: Windows
    labels: np.ndarray
    packing: Packing


def encode_split(
    sentences: Sentences, *, tags: Sequence[str], tokenizer: Any, row_length: int
) -> Split:
    """A split as windows of sub-words, its labels as numbers, and the plan of its rows.

    Raises:
      UserError: a tag that is not one of `tags`.
    """
    number = {tag: i for i, tag in enumerate(tags)}
    try:
        numbers = np.array([number[tag] for tag in sentences.tags.distinct], np.int32)
    except KeyError as error:
        raise UserError(
            f"{sentences.where}: tag {error} is not one that the model knows: {', '.join(tags)}"
        ) from error
    labels = numbers[sentences.tags.ids]
    windows = windowing.make_windows(sentences.words, tokenizer=tokenizer, row_length=row_length)
    plan = packing.plan(windows.lengths, row_length=row_length)
    return Split(sentences, windows, labels, plan)


def tags(split: Split, words: np.ndarray) -> Batch:
    """labels, int32, the tag of the word that each token labels, and mask, bool, whether it labels
    one; `words`, their numbers (B, L), are -1 where not."""
    counted = words >= 0
    return {"labels": np.where(counted, split.labels[words], 0), "mask": counted}


def tags_in_context(split: Split, words: np.ndarray) -> Batch:
    """As `tags`, and before and after, int32: 1 + the tag of the word right before and after it in
    its sentence, which another window may hold; 0 where there is none, and where nothing is
    labelled."""
    edges = split.sentences.words.offsets
    before, after = np.r_[0, split.labels[:-1] + 1], np.r_[split.labels[1:] + 1, 0]
    before[edges[:-1]] = after[edges[1:] - 1] = 0
    context = {"before": before, "after": after}
    return tags(split, words) | {
        name: np.where(words >= 0, of_word[words], 0).astype(np.int32)
        for name, of_word in context.items()
    }


def dataset(
    split: Split,
    *,
    rows: Callable[..., Any],
    batch_rows: int,
    targets: Callable[[Split, np.ndarray], Batch] = tags,
) -> Dataset:
    """rows: row numbers (n,) -> the numbers of each row's windows; `packing.epochs` or `once`.
    targets: `tags` or `tags_in_context`."""

    def make_rows(numbers: np.ndarray) -> Batch:
        filled = windowing.fill_rows(
            split.windows, rows(numbers), row_length=split.packing.row_length
        )
        return filled | targets(split, filled.pop("words"))

    return Dataset(
        rows=make_rows,
        examples=lambda numbers: [split.windows.sentences[ids] for ids in rows(numbers)],
        batch_rows=batch_rows,
        num_rows=split.packing.num_rows,
        num_examples=len(split.sentences.words),
        fill=split.packing.fill,
        fingerprint=split.sentences.fingerprint(),
    )


def by_word(split: Split, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The logits of each word of the split, float (num_words, T), each from the one token that
    labels it.

    Args:
      outputs: logits (R, L, T) of all rows of the split, in the order of `packing.once`.
    """
    examples = packing.once(split.packing)(np.arange(split.packing.num_rows))
    filled = windowing.fill_rows(split.windows, examples, row_length=split.packing.row_length)
    counted = filled["words"] >= 0
    word = filled["words"][counted]
    assert np.array_equal(np.sort(word), np.arange(len(split.labels))), "every word exactly once"
    logits = np.empty((len(word), outputs["logits"].shape[-1]), outputs["logits"].dtype)
    logits[word] = outputs["logits"][counted]
    return logits


def by_sentence(split: Split, values: Sequence[Any]) -> list[list[Any]]:
    """Values of the words of a split, a list for each sentence."""
    offsets = split.sentences.words.offsets.tolist()
    return [list(values[begin:end]) for begin, end in itertools.pairwise(offsets)]
