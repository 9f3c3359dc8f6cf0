"""Files of `torch.save` against what PyTorch put into them (see `golden/make_folder_goldens.py`),
and files that are damaged or ask for more than arrays."""

import datetime
import json
import os
import pickle
import random
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN

from bigjax.errors import UserError
from bigjax.models import torch_files

LAYOUTS = ("zip", "stream")
KINDS = json.loads((GOLDEN / "torch" / "kinds.json").read_text())


def kinds(layout: str) -> Path:
    return GOLDEN / "torch" / f"kinds.{layout}.bin"


def one_line(path: Path) -> str:
    with pytest.raises(UserError) as error:
        torch_files.read(str(path), names=["x", *KINDS])
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


# --- what PyTorch wrote ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", KINDS)
def test_tensors_of_every_type_and_stride_are_those_that_were_saved(layout, name):
    expected = KINDS[name]
    (found,) = torch_files.read(str(kinds(layout)), names=[name]).values()
    assert found.dtype.name == expected["dtype"] and list(found.shape) == expected["shape"]
    np.testing.assert_array_equal(found.astype(np.float64).ravel(), expected["values"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_not_there_is_left_out(layout):
    assert set(torch_files.read(str(kinds(layout)), names=["bool", "none"])) == {"bool"}


def test_tensors_that_are_not_asked_for_are_not_read(tmp_path):
    """The bytes of one are damaged, which their checksum tells whoever reads them."""
    content = bytearray(kinds("zip").read_bytes())
    content[content.index((np.arange(24, dtype="<f4") / 8).tobytes())] ^= 1
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    assert torch_files.read(str(path), names=["bool"])["bool"].tolist() == [True, False]
    with pytest.raises(UserError, match="Bad CRC-32"):
        torch_files.read(str(path), names=["float32"])


# --- what is no weights ---------------------------------------------------------------------------


class Asks:
    """A pickle of it asks for `wanted` to be called with `arguments`."""

    def __init__(self, wanted, *arguments):
        self.wanted, self.arguments = wanted, arguments

    def __reduce__(self):
        return self.wanted, self.arguments


def write(path: Path, pickled: bytes, *, layout: str, data: bytes = b"", **members: bytes) -> Path:
    """A file of that layout with this state and, in the archive, one storage."""
    if layout == "stream":
        machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
        head = [0x1950A86A20F9469CFC6C, 1001, machine]
        path.write_bytes(b"".join(pickle.dumps(x, 2) for x in head) + pickled)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"data.pkl": pickled, "data/0": data, **members}.items():
            archive.writestr(f"m/{name}", content)
    return path


EVIL = {
    "posix.system": lambda mark: Asks(os.system, f"touch {mark}"),
    "builtins.eval": lambda mark: Asks(eval, f"open({str(mark)!r}, 'w')"),
    "builtins.getattr": lambda _: Asks(getattr, {}, "keys"),
    "subprocess.Popen": lambda mark: Asks(subprocess.Popen, ["touch", str(mark)]),
    "datetime.date": lambda _: datetime.date(2020, 1, 1),
    "numpy": lambda _: np.ones(2),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wanted", EVIL)
def test_a_file_that_asks_for_anything_else_is_refused_by_its_name(
    tmp_path, layout, wanted, protocol
):
    mark = tmp_path / "was here"
    pickled = pickle.dumps({"x": EVIL[wanted](mark)}, protocol, fix_imports=False)
    path = write(tmp_path / "weights.bin", pickled, layout=layout)
    message = one_line(path)
    assert f"asks for {wanted}" in message and "it is not opened" in message
    assert "safetensors" in message
    assert not mark.exists()


def test_the_first_pickle_of_a_stream_is_read_no_less_carefully(tmp_path):
    mark = tmp_path / "was here"
    path = tmp_path / "weights.bin"
    path.write_bytes(pickle.dumps(Asks(eval, f"open({str(mark)!r}, 'w')"), 3))
    assert "asks for builtins.eval" in one_line(path)
    assert not mark.exists()


def test_a_pickle_cannot_change_the_functions_it_is_given(tmp_path):
    """Its BUILD instruction sets attributes of what is on its stack."""
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    defaults = b"(N(dV__defaults__\n(I1\nI2\ntst"  # (None, {"__defaults__": (1, 2)})
    path = write(tmp_path / "weights.bin", rebuild + defaults + b"b.", layout="zip")
    before = torch_files._Unpickler._tensor.__defaults__
    assert "cannot be read" in one_line(path)
    assert torch_files._Unpickler._tensor.__defaults__ == before == (None,)


def test_the_whole_of_a_model_is_no_weights(tmp_path):
    module = b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81."
    path = write(tmp_path / "weights.bin", module, layout="zip")
    assert "asks for torch.nn.modules.linear.Linear" in one_line(path)


# --- what is damaged ------------------------------------------------------------------------------


def state(*, offset=0, shape=(2, 3), strides=(3, 1), kind="FloatStorage", of="storage", num=6):
    """The pickle of a state dict of one tensor "x"."""
    ints = lambda values: "(" + "".join(f"I{value}\n" for value in values) + "t"  # noqa: E731
    storage = f"(V{of}\nctorch\n{kind}\nV0\nVcpu\nI{num}\ntQ"
    arguments = (
        f"{storage}I{offset}\n{ints(shape)}{ints(strides)}I00\nccollections\nOrderedDict\n(tR"
    )
    return f"(dVx\nctorch._utils\n_rebuild_tensor_v2\n({arguments}tRs.".encode()


SIX = np.arange(6, dtype="<f4").tobytes()


def test_the_state_of_these_tests_is_one_that_is_read(tmp_path):
    path = write(tmp_path / "weights.bin", state(), layout="zip", data=SIX, byteorder=b"little")
    assert torch_files.read(str(path), names=["x"])["x"].tolist() == [[0, 1, 2], [3, 4, 5]]


WRONG = {
    "beyond its storage": (state(offset=1), SIX, "reaches beyond its storage"),
    "far beyond its storage": (state(shape=(10**15, 3)), SIX, "reaches beyond its storage"),
    "before its storage": (state(offset=-1), SIX, "impossible shape"),
    "a negative stride": (state(strides=(3, -1), offset=2), SIX, "impossible shape"),
    "a stride too few": (state(strides=(1,)), SIX, "impossible shape"),
    "fewer bytes than said": (state(num=7), SIX, "storage 0 is cut off"),
    "bytes of half an element": (state(), SIX[:-1], "buffer size must be a multiple"),
    "a storage of an unknown type": (
        state(kind="QInt8Storage"),
        SIX,
        "asks for torch.QInt8Storage",
    ),
    "a module in place of a storage": (state(of="module"), SIX, "holds a module"),
    "no dict": (pickle.dumps([1, 2], 2), SIX, "holds a list, expected a dict of tensors"),
    "no pickle": (b"", SIX, "Ran out of input"),
    "a number without a tensor": (b"I1\n.", SIX, "holds a int"),
    "an unfinished pickle": (state()[:40], SIX, "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_state_that_cannot_be_is_one_line(tmp_path, case):
    pickled, data, expected = WRONG[case]
    path = write(tmp_path / "weights.bin", pickled, layout="zip", data=data)
    assert expected in one_line(path)


def test_big_endian_and_compressed_archives_are_one_line(tmp_path):
    path = write(tmp_path / "big.bin", state(), layout="zip", data=SIX, byteorder=b"big")
    assert "big-endian" in one_line(path)
    path = tmp_path / "small.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", state())
        archive.writestr("m/data/0", bytes(10_000_000))
    assert "is compressed" in one_line(path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89HDF\r\n", b"\x80\x02N.", b"PK\x03\x04"])
def test_a_file_of_another_kind_is_one_line(tmp_path, content):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    assert "cannot be read as weights of PyTorch" in one_line(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_that_is_cut_off_anywhere_is_one_line(tmp_path, layout):
    content = kinds(layout).read_bytes()
    path = tmp_path / "weights.bin"
    for length in [*range(0, len(content), 61), len(content) - 1]:
        path.write_bytes(content[:length])
        assert "copy or download it again" in one_line(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_changed_byte_is_one_line_or_changes_an_array_at_most(tmp_path, layout):
    """In an archive, which has checksums, it changes none."""
    content, rng = kinds(layout).read_bytes(), random.Random(0)
    expected = torch_files.read(str(kinds(layout)), names=KINDS)
    path = tmp_path / "weights.bin"
    num_refused = 0
    for at in rng.sample(range(len(content)), 300):
        path.write_bytes(
            content[:at] + bytes([content[at] ^ rng.randrange(1, 256)]) + content[at + 1 :]
        )
        try:
            found = torch_files.read(str(path), names=KINDS)
        except UserError as error:
            assert "\n" not in str(error)
            num_refused += 1
            continue
        if layout == "zip":
            assert found.keys() == expected.keys()
            for name, value in found.items():
                np.testing.assert_array_equal(value, expected[name])
    assert num_refused > 50
