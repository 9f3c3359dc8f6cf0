"""Owns random orders that are the same on any machine: of an epoch, from its seed and number."""

import functools
from collections.abc import Callable

import numpy as np

from bigjax.errors import UserError


def random_order(
    stream: np.random.Philox, *, num: int, within: np.ndarray | None = None
) -> np.ndarray:
    """The numbers 0 to num - 1 in random order, int64 (num,), from the next `num` of the stream.

    One sort of 64-bit words that hold random bits and, below them, the number itself: a quarter of
    the time of an argsort. Ten million numbers leave 40 random bits, so that a tie, which goes to
    the smaller number, is rare.

    Args:
      within: int32 (num,), not negative; the numbers are sorted by it first.
    """
    keys = stream.random_raw(num)
    if within is not None:
        num_bits = int(within.max()).bit_length()
        keys >>= np.uint64(num_bits)
        keys |= within.astype(np.uint64) << np.uint64(64 - num_bits)
    mask = np.uint64((1 << num.bit_length()) - 1)
    keys &= ~mask
    keys |= np.arange(num, dtype=np.uint64)
    keys.sort()
    keys &= mask
    return keys.view(np.int64)


def shuffled(num_examples: int, *, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """An endless stream of examples: number g is place `g % num_examples` of epoch
    `g // num_examples`, and every epoch has an order of its own.

    Returns:
      A pure function from numbers (n,) to example ids int64 (n,); thread-safe.
    Raises:
      UserError: a negative seed, or no example.
    """
    if seed < 0:
        raise UserError(f"seed={seed}: expected 0 or more")
    if num_examples < 1:
        raise UserError("no examples to shuffle: the data set is empty")

    @functools.lru_cache(maxsize=2)  # a batch may straddle two epochs
    def order(epoch: int) -> np.ndarray:
        # Only the raw stream of the generator is used: it never changes between NumPy versions.
        stream = np.random.Philox(np.random.SeedSequence((seed, epoch)))
        return random_order(stream, num=num_examples)

    def ids(numbers: np.ndarray) -> np.ndarray:
        epochs, places = np.divmod(numbers, num_examples)
        found = np.empty(len(numbers), np.int64)
        for epoch in np.unique(epochs).tolist():
            found[epochs == epoch] = order(epoch)[places[epochs == epoch]]
        return found

    return ids
