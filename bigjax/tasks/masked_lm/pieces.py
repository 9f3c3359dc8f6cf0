"""Owns documents as rows: their tokens, cut into pieces that fit into one, and which pieces share a
row; and what of a row is hidden.

Which tokens are hidden belongs to `masking.py`. A row is what `windowing.fill_rows` makes of it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.dataset import Batch, Dataset
from bigjax.data.text import packing, tokenization, windowing
from bigjax.data.text.packing import Packing
from bigjax.data.text.windowing import Windows
from bigjax.errors import UserError
from bigjax.tasks.masked_lm.documents import Documents
from bigjax.tasks.masked_lm.masking import Masking, hide

_AT_ONCE = 2**20  # characters that the tokenizer gets at once, or one document


class Tokens(NamedTuple):
    """Of one document: ids int64 (n,), and words int64 (n,), the number of each token's word, from
    0 in order."""

    ids: np.ndarray
    words: np.ndarray


class Split(NamedTuple):
    """A split ready for the model. windows: pieces of documents, which do not overlap; its `words`
    are numbers of words, -1 for special tokens. num_empty: documents that have no token."""

    documents: Documents
    windows: Windows
    packing: Packing
    num_empty: int


def encode_split(documents: Documents, *, tokenizer: Any, row_length: int) -> Split:
    """Raises UserError where no document has a token."""
    found = tokens_of(documents.texts, tokenizer=tokenizer)
    windows = cut(found, tokenizer=tokenizer, row_length=row_length)
    if not len(windows.sentences):
        raise UserError(f"{documents.where}: the tokenizer makes no token of its text")
    num_empty = len(documents.texts) - len(np.unique(windows.sentences))
    return Split(
        documents, windows, packing.plan(windows.lengths, row_length=row_length), num_empty
    )


def tokens_of(texts: Sequence[str], *, tokenizer: Any) -> Iterator[Tokens]:
    """The tokens of each text, no special ones among them: a text that reads like one ("[MASK]") is
    text like any other."""
    plain = tokenization.without_special(tokenizer)
    for block in _blocks(texts):
        for encoding in plain.encode_batch(block, add_special_tokens=False):
            words = np.array([-1 if w is None else w for w in encoding.word_ids], np.int64)
            ids = np.array(encoding.ids, np.int64)
            # From 0 and without gaps, as a normalizer may drop some.
            begins = np.diff(words, prepend=-2) != 0
            yield Tokens(ids, np.cumsum(begins) - 1)


def encode_text(text: str, *, tokenizer: Any) -> Any:
    """The `tokenizers.Encoding` of a text, without special tokens."""
    plain = tokenization.without_special(tokenizer)
    return plain.encode(text, add_special_tokens=False)


def cut(
    documents: Iterator[Tokens] | Sequence[Tokens], *, tokenizer: Any, row_length: int
) -> Windows:
    """Each document in as few pieces as hold it, one after the other: every token is in exactly
    one. A piece ends with a word, unless that word alone is longer than a row."""
    before, after = tokenization.special_tokens(tokenizer)
    room = row_length - len(before) - len(after)
    if room < 8:
        raise UserError(
            f"text.row_length={row_length} leaves {room} tokens for text; expected 16 or more"
        )
    unknown = tokenization.unknown_token(tokenizer)
    tokens, words, lengths, of_document = [], [], [0], []
    num_words = num_unknown = 0
    none = [np.full(len(special), -1, np.int64) for special in (before, after)]
    for number, found in enumerate(documents):
        for begin, end in itertools.pairwise(_edges(found.words, room=room)):
            tokens += [before, found.ids[begin:end], after]
            words += [none[0], found.words[begin:end] + num_words, none[1]]
            lengths.append(len(before) + end - begin + len(after))
            of_document.append(number)
        if len(found.ids):
            num_words += int(found.words[-1]) + 1
            num_unknown += len(np.unique(found.words[found.ids == unknown]))
    sizes = np.array(lengths[1:], np.int64) - len(before) - len(after)
    kind = np.min_scalar_type(tokenizer.get_vocab_size(with_added_tokens=True))
    empty = [np.zeros(0, np.int64)]
    return Windows(
        tokens=np.concatenate(tokens or empty).astype(kind),
        words=np.concatenate(words or empty).astype(
            np.int32 if num_words < 2**31 else np.int64, copy=False
        ),
        offsets=np.cumsum(lengths).astype(np.int64),
        sentences=np.array(of_document, np.int64),
        num_unknown_words=num_unknown,
        owned=np.stack([np.zeros_like(sizes), sizes], axis=1),
    )


def dataset(
    split: Split, *, rows: Callable[..., Any], batch_rows: int, masking: Masking
) -> Dataset:
    """rows: row numbers (n,) -> the numbers of each row's pieces; `packing.epochs` or `once`."""

    def make_rows(numbers: np.ndarray) -> Batch:
        filled = windowing.fill_rows(
            split.windows, rows(numbers), row_length=split.packing.row_length
        )
        hidden = hide(filled, numbers, masking=masking)
        del filled["words"]
        return filled | hidden

    return Dataset(
        rows=make_rows,
        examples=lambda numbers: [split.windows.sentences[ids] for ids in rows(numbers)],
        batch_rows=batch_rows,
        num_rows=split.packing.num_rows,
        num_examples=len(split.documents.texts) - split.num_empty,
        fill=split.packing.fill,
        fingerprint=split.documents.fingerprint(),
    )


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block, size = [], 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= _AT_ONCE:
            yield block
            block, size = [], 0
    if block:
        yield block


def _edges(words: np.ndarray, *, room: int) -> list[int]:
    """Where pieces of at most `room` tokens begin and end."""
    edges = [0]
    begins = np.flatnonzero(np.diff(words, prepend=-1))
    while len(words) - edges[-1] > room:
        most = edges[-1] + room
        last = int(begins[np.searchsorted(begins, most, side="right") - 1])
        edges.append(last if last > edges[-1] else most)
    return [*edges, len(words)] if len(words) else []
