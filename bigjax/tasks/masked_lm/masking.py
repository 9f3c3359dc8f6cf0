"""Owns which tokens of a row are hidden and what stands in their place: a pure function of a seed,
the row's number in the stream and the position, whoever computes it.

15% of the tokens are chosen; of these 80% become the mask token, 10% a random one and 10% stay
(Devlin et al. 2018). Suffixes: B rows, L row length, S slots.

The chosen of a row are taken in the order of their hashes until its share is reached: with real
numbers, so the last one is taken with the probability of what is left of the share. So the expected
number is the share exactly, and no row ever has more than `num_slots` of them.
"""

from typing import NamedTuple

import numpy as np

from bigjax.data.dataset import Batch

# Sub-words of a word that are hidden together; a longer word is hidden in parts of so many.
MAX_TOGETHER = 8
# Names of the streams of random numbers that are drawn for a row.
_ORDER, _LAST, _KIND, _TOKEN = 1, 2, 3, 4


class Masking(NamedTuple):
    """What is hidden and how.

    seed: of the draws. share: of the tokens that are chosen. masked, random: of these, those that
    become the mask token, and those that become a random one; the rest stays.
    is_whole: whether the sub-words of a word are chosen together.
    mask_id: the mask token. ordinary: int32 (n,), the ids that a random token is drawn from.
    """

    seed: int
    share: float
    masked: float
    random: float
    is_whole: bool
    mask_id: int
    ordinary: np.ndarray

    def num_slots(self, row_length: int) -> int:
        """More tokens than these are never chosen in a row."""
        most = int(np.ceil(self.share * row_length))
        together = MAX_TOGETHER if self.is_whole else 1
        return min(row_length, most + together - 1)


def hide(rows: Batch, numbers: np.ndarray, *, masking: Masking) -> Batch:
    """Rows (B, L) with tokens hidden.

    Args:
      rows: tokens int32, and words, for each token a number of the word that it is of, -1 where
        nothing may be hidden (special tokens, padding).
      numbers: int64 (B,), the row's number in the stream: of training, g is row g % num_rows of
        epoch g // num_rows, so each epoch hides others.
    Returns:
      tokens: as the model sees them. slots: int32 (B, S), the positions of what was chosen, in
      order, 0 where there is none. asked: int32 (B, S), what stood there. mask: bool (B, S), which
      slots are used.
    """
    tokens_BL, words_BL = rows["tokens"], rows["words"]
    chosen_BL = _chosen(words_BL, numbers, masking=masking)
    row, position = np.nonzero(chosen_BL)
    counts = chosen_BL.sum(1)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = len(tokens_BL), masking.num_slots(tokens_BL.shape[1])
    slots, asked, mask = (np.zeros(shape, kind) for kind in (np.int32, np.int32, bool))
    slots[row, slot], asked[row, slot], mask[row, slot] = position, tokens_BL[row, position], True

    draw = lambda stream: _hash(masking.seed, stream, numbers[row], position)  # noqa: E731
    kind, which = _uniform(draw(_KIND)), draw(_TOKEN) % np.uint64(len(masking.ordinary))
    new = np.where(kind < masking.masked, masking.mask_id, masking.ordinary[which.astype(np.int64)])
    stays = kind >= masking.masked + masking.random
    seen_BL = tokens_BL.copy()
    seen_BL[row, position] = np.where(stays, tokens_BL[row, position], new)
    return {"tokens": seen_BL, "slots": slots, "asked": asked, "mask": mask}


def _chosen(words_BL: np.ndarray, numbers: np.ndarray, *, masking: Masking) -> np.ndarray:
    """bool (B, L)."""
    free_BL = words_BL >= 0
    begins_BL = free_BL.copy()
    if masking.is_whole:
        begins_BL[:, 1:] &= words_BL[:, 1:] != words_BL[:, :-1]
        begins_BL |= free_BL & (_since(begins_BL) % MAX_TOGETHER == 0)
    # Parts are what is chosen as one: a token, a word, or a part of a long one.
    row, position = np.nonzero(begins_BL)
    part_of = np.cumsum(begins_BL.reshape(-1)).reshape(begins_BL.shape) - 1  # of each free token
    sizes = np.bincount(part_of[free_BL], minlength=len(row))
    order = np.lexsort((_hash(masking.seed, _ORDER, numbers[row], position), row))
    ordered = sizes[order]
    before = np.cumsum(ordered) - ordered
    num_before = free_BL.sum(1).cumsum() - free_BL.sum(1)
    before -= num_before[row[order]]  # of the same row
    left = masking.share * free_BL.sum(1)[row[order]] - before
    last = _uniform(_hash(masking.seed, _LAST, numbers[row], position))[order]
    is_chosen = np.zeros(len(row), bool)
    is_chosen[order] = last < left / ordered  # all of it where more is left than it has
    return free_BL & is_chosen[part_of]


def _since(begins_BL: np.ndarray) -> np.ndarray:
    """For each place how far it is from the last one that begins something, in its row."""
    places = np.arange(begins_BL.shape[1])[None]
    return places - np.maximum.accumulate(np.where(begins_BL, places, 0), axis=1)


def _hash(seed: int, stream: int, numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """uint64 (n,) of each (row, position): splitmix64 (Steele et al. 2014) of a counter, twice."""
    root = np.array([seed * 8 + stream], np.uint64)
    of_row = _mix(_mix(root) + numbers.astype(np.uint64))
    return _mix(of_row + positions.astype(np.uint64))


def _mix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)  # arrays of uint64 wrap around
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _uniform(bits: np.ndarray) -> np.ndarray:
    """float64 in [0, 1), of the upper 53 bits."""
    return (bits >> np.uint64(11)) * 2.0**-53
