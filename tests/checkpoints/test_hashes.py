"""Content hashes against a slow reference in Python's integers, and hashes of files."""

import hashlib
import os
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from bigjax.checkpoints import hashes
from bigjax.engine import sharding

DTYPES = ("float32", "bfloat16", "float16", "int32", "uint32", "int8", "uint8", "bool")
SHAPES = ((), (1,), (7,), (3, 5), (2, 3, 4), (0,), (4, 0, 2))


def hashes_of(**leaves) -> dict[str, str]:
    return hashes.by_name(leaves, hashes=hashes.content_hashes(leaves))


def hash_of(x) -> str:
    return hashes_of(x=x)["x"]


def random_array(dtype: str, shape: tuple[int, ...], *, seed: int = 0) -> np.ndarray:
    """Any bits, those of nan among them."""
    rng, dtype = np.random.default_rng(seed), jnp.dtype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    return np.frombuffer(rng.bytes(dtype.itemsize * int(np.prod(shape))), dtype).reshape(shape)


def reference(x: np.ndarray) -> str:
    """The hash, element by element."""
    sums = list(np.frombuffer(hashlib.sha256(f"{x.dtype} {x.shape}".encode()).digest()[:8], "<u4"))
    sums = [int(value) for value in sums]
    for index, element in enumerate(x.ravel()):
        bits = int.from_bytes(element.tobytes(), "little")
        one = (bits + index * 0x9E3779B1) % 2**32
        one = (one ^ (one >> 16)) * 0x7FEB352D % 2**32
        one = (one ^ (one >> 15)) * 0x846CA68B % 2**32
        one ^= one >> 16
        two = (one ^ (one >> 13)) * 0xC2B2AE35 % 2**32
        two ^= two >> 16
        sums = [(sums[0] + one) % 2**32, (sums[1] + two) % 2**32]
    return f"{sums[0]:08x}{sums[1]:08x}"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hash_is_that_of_the_reference(dtype, shape):
    x = random_array(dtype, shape)
    assert hash_of(jnp.asarray(x)) == hash_of(x) == reference(x)


@hypothesis.given(st.sampled_from(DTYPES), st.integers(0, 59), st.integers(0, 31))
def test_any_flipped_bit_changes_the_hash(dtype, index, bit):
    x = random_array(dtype, (6, 10))
    bits = 1 if dtype == "bool" else 8 * x.dtype.itemsize
    content = bytearray(x.tobytes())
    content[index * x.dtype.itemsize + bit % bits // 8] ^= 1 << bit % bits % 8
    flipped = np.frombuffer(bytes(content), x.dtype).reshape(x.shape)
    assert hash_of(flipped) != hash_of(x)


@hypothesis.given(st.integers(0, 59), st.integers(1, 59))
def test_swapped_elements_change_the_hash(index, distance):
    x = np.arange(60, dtype=np.float32)
    other = (index + distance) % 60
    swapped = x.copy()
    swapped[[index, other]] = x[[other, index]]
    assert hash_of(swapped) != hash_of(x)


def test_what_is_equal_as_numbers_but_not_as_bits_has_another_hash():
    zeros, nans = np.zeros(3, np.float32), np.full(3, np.nan, np.float32)
    assert hash_of(zeros) != hash_of(-zeros)
    assert hash_of(nans) != hash_of((nans.view(np.uint32) + 1).view(np.float32))


def test_neither_shape_nor_dtype_nor_order_nor_length_goes_unseen():
    x = np.zeros(12, np.float32)
    alike = [x, x.reshape(3, 4), x.reshape(4, 3), x[:11], x[:0], x[:0].reshape(0, 2), x[0]]
    alike += [x.astype(dtype) for dtype in ("int32", "float16", "bool")]
    rolled = np.arange(12, dtype=np.int32)
    alike += [np.roll(rolled, shift) for shift in range(12)] + [rolled[::-1].copy()]
    assert len({hash_of(x) for x in alike}) == len(alike)


SPECS = [
    ("data=8", P()),
    ("fsdp=8", P("fsdp")),
    ("fsdp=8", P(None, "fsdp")),
    ("fsdp=2,tensor=4", P("fsdp", "tensor")),
    ("data=2,tensor=4", P("tensor")),
]


@pytest.mark.parametrize(("mesh", "spec"), SPECS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_sharding_changes_the_hash_and_every_device_knows_it(mesh, spec, dtype):
    x = random_array(dtype, (16, 24))
    placed = jax.device_put(x, NamedSharding(sharding.make_mesh(mesh), spec))
    (found,) = hashes.content_hashes([placed])
    assert found.is_fully_replicated
    assert hash_of(placed) == reference(x)


def test_a_sharded_array_is_hashed_without_gathering_it():
    """Devices exchange sums, not the array."""
    mesh = sharding.make_mesh("fsdp=2,tensor=4")
    shape = jax.ShapeDtypeStruct(
        (512, 512), jnp.float32, sharding=NamedSharding(mesh, P("fsdp", "tensor"))
    )
    compiled = hashes._hash.lower(shape).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 512 * 512 * 4 / 8
    lines = [line for line in compiled.as_text().splitlines() if "all-gather(" in line]
    assert not any("512" in line for line in lines)


def test_hashes_are_the_same_inside_a_jitted_function():
    tree = {"a": jnp.arange(6.0), "b": jnp.int32(3)}
    inside = jax.jit(hashes.content_hashes)(tree)
    assert hashes.by_name(tree, hashes=inside) == hashes_of(**tree)


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "d" / "empty").write_bytes(b"")
    (tmp_path / "d" / "e" / "b").write_bytes(bytes(5000))
    return tmp_path


def problems_of(folder: Path, change) -> list[str]:
    """What is found after `change(folder)`."""
    expected = hashes.file_hashes(str(folder))
    change(folder)
    return hashes.check_files(str(folder), expected=expected)


def test_a_file_is_known_by_size_and_sha256(folder):
    found = hashes.file_hashes(str(folder))
    assert found == {
        name: (len(content), hashlib.sha256(content).hexdigest())
        for name, content in (("a", b"one"), ("d/empty", b""), ("d/e/b", bytes(5000)))
    }


PROBLEMS = {
    "nothing": (lambda _: None, []),
    "shortened": (lambda f: os.truncate(f / "d/e/b", 1024), ["d/e/b is truncated (1,024 of 5,000"]),
    "emptied": (lambda f: os.truncate(f / "a", 0), ["a is truncated (0 of 3 bytes)"]),
    "lengthened": (
        lambda f: os.truncate(f / "d/empty", 1),
        ["d/empty is too long (1 bytes, not 0"],
    ),
    "gone": (lambda f: (f / "a").unlink(), ["a is missing"]),
    "a file for a folder": (
        lambda f: ((f / "d/e").rename(f / "x"), (f / "d/e").touch()),
        ["d/e/b is missing"],
    ),
    "changed": (lambda f: (f / "a").write_bytes(b"onf"), ["a has other bytes than were saved"]),
    "two": (
        lambda f: ((f / "a").write_bytes(b"onf"), (f / "d/e/b").write_bytes(b"1" * 5000)),
        ["a has other bytes", "d/e/b has other bytes"],
    ),
    "one more file": (lambda f: (f / "d" / ".DS_Store").touch(), []),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_problem_names_the_file(folder, case):
    change, expected = PROBLEMS[case]
    found = problems_of(folder, change)
    assert len(found) == len(expected)
    for problem, start in zip(found, expected):
        assert problem.startswith(start)
