"""Owns the two kinds of hashes that tell a whole checkpoint from a damaged one: of the content of
arrays, computed where they lie, and of the bytes of files. What is done about damage belongs to
`checkpoint.py`."""

import errno
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.processes.dispatch import in_order
from bigjax.trees import leaf_names

# Size in bytes and SHA-256 in hex of each file, by its path relative to the folder.
FileHashes = Mapping[str, tuple[int, str]]

_THREADS = 4
_GOLDEN = 0x9E3779B1  # 2**32 / golden ratio, odd: the keys of neighbours lie far apart


def content_hashes(tree: Any) -> list[jax.Array]:
    """The hash of every leaf, uint32 (2,) each, in the order of `jax.tree.leaves`.

    Bits are mixed with their index in the global array and added up modulo 2**32, so the sharding
    and the number of devices change nothing and no leaf is gathered. Every bit counts, those of
    -0.0 and of nan too: any change of one element is found for certain, others (two elements
    swapped, another shape or dtype) but for one in 2**64. No defence against intent.

    Args:
      tree: arrays of numbers or booleans of 1, 2, 4 or 8 bytes, of at most 2**32 elements (beyond,
        what is swapped over a distance of a multiple of 2**32 is not found); not complex ones.
    Source of the mixing steps: the finalizers of MurmurHash3 (fmix32) and of lowbias32.
    """
    return [in_order(_hash(x)) for x in jax.tree.leaves(tree)]


def by_name(tree: Any, *, hashes: list[jax.Array]) -> dict[str, str]:
    """Name of each leaf of `tree` to its hash, 16 hex digits; waits for them."""
    words = [np.asarray(pair) for pair in jax.device_get(hashes)]
    return {name: f"{high:08x}{low:08x}" for name, (high, low) in zip(leaf_names(tree), words)}


def file_hashes(folder: str) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file below `folder`, by its relative path."""
    names = _files(folder)
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(names, pool.map(lambda name: _file_hash(folder, name), names)))


def check_files(folder: str, *, expected: FileHashes) -> list[str]:
    """What is wrong with the files below `folder`, each in words that name the file; [] if nothing.

    A file that is not expected is no problem: the ones that are read are all expected, and what a
    backup or a file manager leaves behind must not cost a checkpoint. Sizes are compared first, so
    a missing or shortened file is found without reading anything.

    Raises:
      OSError: a file is there and may not be read, or not now: that is no damage.
    """
    problems = [
        problem
        for name, (size, _) in sorted(expected.items())
        if (problem := _size_problem(os.path.join(folder, name), name=name, size=size))
    ]
    if problems:
        return problems

    def problem_of(name: str) -> str | None:
        try:
            found = _file_hash(folder, name)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return f"{name} cannot be read ({error.strerror})"
        return None if found == tuple(expected[name]) else f"{name} has other bytes than were saved"

    with ThreadPoolExecutor(_THREADS) as pool:
        return [problem for problem in pool.map(problem_of, sorted(expected)) if problem]


@jax.jit
def _hash(x: jax.Array) -> jax.Array:
    """Hash of one array: two sums, of different mixes of the same bits and keys."""
    seed = hashlib.sha256(f"{x.dtype} {x.shape}".encode()).digest()
    seeds = np.frombuffer(seed[:8], np.uint32)
    if x.size == 0:
        return jnp.asarray(seeds)
    bits = _bits(x)
    one = (bits + _keys(bits.shape)).astype(jnp.uint32)
    one = (one ^ (one >> 16)) * np.uint32(0x7FEB352D)
    one = (one ^ (one >> 15)) * np.uint32(0x846CA68B)
    one = one ^ (one >> 16)
    two = (one ^ (one >> 13)) * np.uint32(0xC2B2AE35)
    two = two ^ (two >> 16)
    # One reduction of both: two of them read the array twice and take four times as long on CPU.
    sums = jax.lax.reduce(
        (one, two),
        (np.uint32(0), np.uint32(0)),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
        tuple(range(bits.ndim)),
    )
    return jnp.stack(sums) + seeds


def _bits(x: jax.Array) -> jax.Array:
    """The bits of each element in a uint32; of eight bytes, in two along a last axis."""
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    size = x.dtype.itemsize
    word = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[size]
    return jax.lax.bitcast_convert_type(x, word).astype(jnp.uint32)


def _keys(shape: tuple[int, ...]) -> jax.Array:
    """A number for each element, from its index in row-major order; modulo 2**32."""
    keys, stride = jnp.zeros(shape, jnp.uint32), _GOLDEN
    for axis in reversed(range(len(shape))):
        index = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        keys = keys + index * np.uint32(stride % 2**32)
        stride *= shape[axis]
    return keys


def _files(folder: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
    )


def _file_hash(folder: str, name: str) -> tuple[int, str]:
    with open(os.path.join(folder, name), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _size_problem(path: str, *, name: str, size: int) -> str | None:
    try:
        found = os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return f"{name} is missing"
    if found < size:
        return f"{name} is truncated ({found:,} of {size:,} bytes)"
    return f"{name} is too long ({found:,} bytes, not {size:,})" if found > size else None
