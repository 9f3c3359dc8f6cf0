"""Owns random changes of the words of training rows, each a function of (seed, number of the row)
alone. Lengths stay what they are, so rows that are packed stay packed.

Random numbers belong to `random_keys.py`, rows to `windowing.py`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from bigjax.config.fields import Between
from bigjax.data.dataset import Batch
from bigjax.data.random_keys import keys, within
from bigjax.data.text.windowing import Windows


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordNoise:
    """Random changes of the words of training texts."""

    word_dropout: Annotated[
        float,
        Between(0, 0.9),
        "share of a text's words that are hidden, by [MASK] where the tokenizer has it, else by "
        "its unknown token; anew each time it is seen",
    ] = 0.0
    word_swaps: Annotated[
        float, Between(0, 1), "pairs of a text's words that change places, as a share of its words"
    ] = 0.0


def disturb(
    batch: Batch,
    examples: Sequence[np.ndarray],
    *,
    windows: Windows,
    numbers: np.ndarray,
    seed: int,
    noise: WordNoise,
    hidden: int,
    num_before: int,
) -> Batch:
    """Rows whose texts' words are swapped and then hidden at random, never all of a text. Of the
    windows of a long text only the words that each owns are changed.

    Args:
      batch: tokens and words (B, L), as `windowing.fill_rows` gives them for `examples`.
      numbers: of the rows, (B,). hidden: the token in the place of a hidden word.
      num_before: special tokens before the words of each window.

    Source: swaps as of Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques".
    """
    tokens = batch["tokens"].copy()
    for row, (key, ids) in enumerate(zip(keys(numbers, seed=seed), examples)):
        lengths = windows.offsets[ids + 1] - windows.offsets[ids]
        starts = np.cumsum(lengths) - lengths
        for place, (start, window) in enumerate(zip(starts.tolist(), ids.tolist())):
            begin, end = (start + num_before + windows.owned[window]).tolist()
            first = np.flatnonzero(batch["words"][row, begin:end] >= 0) + begin
            if not len(first):
                continue
            spans = [tokens[row, a:b] for a, b in zip(first, [*first[1:], end])]
            spans = _swapped(spans, key, f"swap {place}", share=noise.word_swaps)
            tokens[row, first[0] : end] = np.concatenate(
                _hid(spans, key, f"drop {place}", share=noise.word_dropout, hidden=hidden)
            )
    return {**batch, "tokens": tokens}


def _swapped(
    spans: list[np.ndarray], key: np.uint64, name: str, *, share: float
) -> list[np.ndarray]:
    pairs = within(key, name, num=2 * round(share * len(spans))).reshape(-1, 2) * len(spans)
    spans = list(spans)
    for a, b in pairs.astype(int).tolist():
        spans[a], spans[b] = spans[b], spans[a]
    return spans


def _hid(
    spans: list[np.ndarray], key: np.uint64, name: str, *, share: float, hidden: int
) -> list[np.ndarray]:
    hide = within(key, name, num=len(spans)) < share
    if hide.all():
        return spans
    return [np.full_like(span, hidden) if gone else span for span, gone in zip(spans, hide)]
