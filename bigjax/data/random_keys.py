"""Owns random numbers that are a hash of (seed, number of a row, name): the same whichever rows are
made together, by how many processes or in what order."""

import functools
import hashlib

import numpy as np

from bigjax.errors import UserError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def keys(numbers: np.ndarray, *, seed: int) -> np.ndarray:
    """The random key uint64 (n,) of each row number (n,): output `number` of SplitMix64 started at
    a hash of the seed.

    Source: Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators".

    Raises:
      UserError: a negative seed.
    """
    if seed < 0:
        raise UserError(f"seed={seed}: expected 0 or more")
    start = _mix(np.array([seed % 2**64], np.uint64))
    return _mix(start + _GOLDEN * (np.asarray(numbers).astype(np.uint64) + np.uint64(1)))


def uniform(keys: np.ndarray, name: str) -> np.ndarray:
    """For each key a number of the named stream: float64 in [0, 1), all multiples of 2**-53."""
    return (_mix(keys ^ _stream(name)) >> np.uint64(11)) * 2.0**-53


def within(key: np.uint64, name: str, *, num: int) -> np.ndarray:
    """`num` numbers of one key's named stream, as `uniform` has them."""
    start = _mix(np.array([key], np.uint64) ^ _stream(name))
    return uniform(start + _GOLDEN * np.arange(1, num + 1, dtype=np.uint64), name)


@functools.cache
def _stream(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's output function of uint64 (n,)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
