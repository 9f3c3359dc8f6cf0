"""Owns what a report says of text laid into rows: how much there is, and what became of it."""

import numpy as np

from bigjax.data.text.packing import Packing
from bigjax.data.text.sentences import Sentences
from bigjax.data.text.windowing import Windows

_PERCENT = (5, 50, 95, 99)


def rows(
    name: str, *, sentences: Sentences, windows: Windows, packing: Packing, thing: str
) -> list[tuple[str, str]]:
    """Rows (name, value) of a split.

    Args:
      thing: what one of its sentences is called ("sentence").
    """
    lengths = sentences.words.lengths
    at = np.percentile(lengths, _PERCENT)
    of_each = ", ".join(f"{p}%: {n:,.0f}" for p, n in zip(_PERCENT, at))
    num_words, num_windows = int(np.sum(lengths)), len(windows.lengths)
    extra, unknown = num_windows - len(lengths), windows.num_unknown_words
    more = f", {extra:,} more than {thing}s (long ones are split)" if extra else ""
    return [
        (name, sentences.where),
        (
            f"{name}: size",
            f"{len(lengths):,} {thing}s, {num_words:,} words, {windows.lengths.sum():,} sub-words "
            "with special tokens",
        ),
        (f"{name}: words a {thing}", f"{of_each}, longest: {np.max(lengths):,}"),
        (f"{name}: windows", f"{num_windows:,}{more}"),
        (
            f"{name}: rows",
            f"{packing.num_rows:,} of {packing.row_length} tokens, {packing.fill:.1%} filled",
        ),
        (
            f"{name}: unknown",
            f"{unknown:,} words ({unknown / num_words:.2%}) are not known to the tokenizer, whole "
            "or in part",
        ),
    ]
