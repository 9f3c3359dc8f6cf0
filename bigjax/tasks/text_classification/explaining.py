"""Owns why a trained classifier said what it said of a text, as what each of its words did.

The answer of a question is log P(class), of a long text the sum over its windows, each weighed by
its share of the text; of texts of any number of classes that of the whole set. It is compared with
the same text of unknown words. Integrating belongs to `inference/attribution.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.text import packing, windowing
from bigjax.data.text.sentences import with_classes
from bigjax.data.text.tokenization import encode_words, special_tokens, unknown_token
from bigjax.tasks.task import Question
from bigjax.tasks.text_classification import rows
from bigjax.tasks.text_classification.rows import Split
from bigjax.tasks.text_classification.use import Prepared


def questions(
    one: Prepared,
    answer: Mapping[str, Any],
    variables: Mapping[str, Any],
    *,
    names: Sequence[str],
    multi: bool,
    tokenizer: Any,
    row_length: int,
) -> Iterator[Question]:
    """One: why it is of its class, or of these classes and of no other."""
    said = answer.get("classes", [answer]) if multi else [answer]
    words = one.words or [""]
    text = with_classes([(words, [item["class"] for item in said])], where="input")
    split = rows.encode_split(
        text, names=names, multi=multi, tokenizer=tokenizer, row_length=row_length
    )
    longest = int(split.windows.lengths.max())
    length = packing.short_row(longest)
    numbers = np.arange(len(split.windows.lengths))
    batch = windowing.fill_rows(split.windows, list(numbers[:, None]), row_length=length)
    del batch["words"]
    mask = np.ones((len(numbers), 1), bool)
    batch |= {"mask": mask, "weight": split.share[:, None]}
    batch |= rows.labelled(np.zeros_like(mask, int), mask, split)

    word_RL = _word_of_each(split, words, length=length, tokenizer=tokenizer)
    table = np.asarray(variables["params"]["encoder"]["word"]["embedding"], np.float32)
    to_unknown = table[unknown_token(tokenizer)] - table[batch["tokens"]]
    baseline = np.where(word_RL[..., None] >= 0, to_unknown, 0.0).astype(np.float32)

    def show(parts: np.ndarray) -> dict[str, Any]:
        of_token, counted = parts.sum(axis=-1), word_RL >= 0
        of_word = np.bincount(word_RL[counted], weights=of_token[counted], minlength=len(words))
        pieces: list[list[Any]] = []
        for i, word in enumerate(words):
            pieces += [[" ", None, False]] * bool(i) + [[word, float(of_word[i]), False]]
        return {"pieces": pieces}

    told = ", ".join(f"{item['class']} {item['score']:.2f}" for item in said) or "none"
    yield Question(told, batch, "embedding_delta", np.zeros_like(baseline), baseline, show)


def _word_of_each(split: Split, words: Sequence[str], *, length: int, tokenizer: Any) -> np.ndarray:
    """The number of the word that each sub-word is of, int (R, L), a window a row; -1 for what is
    of none."""
    prefix, suffix = special_tokens(tokenizer)
    sizes = [max(1, len(ids)) for ids in encode_words(list(words), tokenizer=tokenizer)]
    word_of = np.repeat(np.arange(len(words)), sizes)
    found = np.full((len(split.windows.lengths), length), -1)
    # What a window owns begins where the one before it ends.
    owned = split.windows.owned
    begins = np.r_[0, np.cumsum(owned[:, 1] - owned[:, 0])[:-1]] - owned[:, 0]
    for row, (begin, size) in enumerate(zip(begins.tolist(), split.windows.lengths.tolist())):
        inner = size - len(prefix) - len(suffix)
        found[row, len(prefix) : len(prefix) + inner] = word_of[begin : begin + inner]
    return found
