"""Owns reading PyTorch's own files of weights, what `torch.save` makes of a state dict: without
PyTorch, and without running what they hold. Which file of a folder is read belongs to
`weight_files.py`.

Such a file is a pickle, and a pickle may ask for any Python function to be called with anything.
This reader knows the few that make a tensor, gives back arrays, and refuses a file that asks for
more. Two layouts, both of `torch/serialization.py`: a zip archive (PyTorch 1.6 and newer) of
`data.pkl` and the bytes of each storage, and, before that, one stream of five pickles and then the
bytes of every storage.
"""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Collection
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from bigjax.errors import UserError

# Little-endian, as a file says of itself that it is.
DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": jnp.dtype("bfloat16"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_ZIP, _MAGIC, _PROTOCOL = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001


class Storage(NamedTuple):
    """The bytes that one or several tensors are views of, by the key they have in the file."""

    key: str
    dtype: np.dtype
    num_elements: int


class Tensor(NamedTuple):
    """What a tensor is of its storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: str, *, names: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the state dict's tensors `names` that are there, as they are stored: read-only, of
    any stride. The bytes of other tensors are not read.

    Raises:
      UserError: a file that asks for anything but tensors, names it; one that is damaged or of
        another kind.
    """
    try:
        with open(path, "rb") as file:
            is_zip = file.read(len(_ZIP)) == _ZIP
            file.seek(0)
            return (_read_zip if is_zip else _read_stream)(file, path, names)
    except UserError:
        raise
    except Exception as error:  # what a damaged pickle or archive can raise is without end
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: cannot be read as weights of PyTorch ({reason}); copy or download it again"
        ) from error


def _read_zip(file: BinaryIO, path: str, names: Collection[str]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        found = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
        if len(found) != 1:
            raise ValueError(f"{len(found)} members data.pkl, expected 1")
        folder = found[0].removesuffix("data.pkl")

        def member(name: str) -> bytes:  # its checksum is compared as it is read
            if members[folder + name].compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed, which PyTorch does not do")
            return archive.read(folder + name)

        if folder + "byteorder" in members and member("byteorder") != b"little":
            raise ValueError("of a big-endian machine")
        state = _Unpickler(io.BytesIO(member("data.pkl")), path).load()
        return _arrays(state, names, lambda storage: member("data/" + storage.key))


def _read_stream(file: BinaryIO, path: str, names: Collection[str]) -> dict[str, np.ndarray]:
    if file.read(1) != pickle.PROTO:
        raise ValueError("neither a zip archive nor a pickle")
    file.seek(0)
    magic, protocol, machine = (_Unpickler(file, path).load() for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise ValueError("a pickle, and not one of torch.save")
    if not machine["little_endian"]:
        raise ValueError("of a big-endian machine")
    unpickler = _Unpickler(file, path)
    state, keys = unpickler.load(), _Unpickler(file, path).load()
    at, end = file.tell(), file.seek(0, io.SEEK_END)
    begins: dict[str, int] = {}
    for key in keys:
        file.seek(at)
        (num_elements,) = struct.unpack("<q", file.read(8))
        begins[key] = at + 8
        at += 8 + num_elements * unpickler.storages[key].dtype.itemsize
        if num_elements != unpickler.storages[key].num_elements or at > end:
            raise ValueError(f"storage {key} is cut off")

    def data(storage: Storage) -> bytes:
        file.seek(begins[storage.key])
        return file.read(storage.num_elements * storage.dtype.itemsize)

    return _arrays(state, names, data)


class _Unpickler(pickle.Unpickler):
    """Makes tensors, dicts, lists, numbers and strings, and refuses everything else.

    What it hands out are bound methods, strings and a type that cannot be changed: a pickle may set
    attributes of whatever it gets.
    """

    def __init__(self, file: BinaryIO, path: str):
        super().__init__(file, encoding="utf-8")  # strings of Python 2
        self.path = path
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return name
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
        }
        if (module, name) not in known:
            raise UserError(
                f"{self.path}: asks for {module}.{name}, and weights need nothing but tensors: it "
                "is not opened, since it may run any program; take the model's safetensors, or "
                "weights that torch.save(model.state_dict(), ...) wrote"
            )
        return known[module, name]

    def persistent_load(self, saved_id: Any) -> Storage:
        kind, dtype, key, _, num_elements, *views = saved_id
        if kind != "storage" or any(view is not None for view in views):
            raise ValueError(f"holds a {kind}, expected storages of tensors alone")
        storage = Storage(str(key), DTYPES[dtype], int(num_elements))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key} has two kinds")
        return storage

    def _tensor(
        self,
        storage: Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        _requires_grad: bool,
        _backward_hooks: Any,
        metadata: Any = None,
    ) -> Tensor:
        if not isinstance(storage, Storage) or metadata:
            raise ValueError("holds a tensor of an unknown kind")
        return Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))

    def _parameter(self, tensor: Tensor, _requires_grad: bool, _backward_hooks: Any) -> Tensor:
        return tensor


def _arrays(
    state: Any, names: Collection[str], data: Callable[[Storage], bytes]
) -> dict[str, np.ndarray]:
    if not isinstance(state, dict):
        raise ValueError(f"holds a {type(state).__name__}, expected a dict of tensors by name")
    storages: dict[str, np.ndarray] = {}
    found = {}
    for name in names:
        tensor = state.get(name)
        if isinstance(tensor, Tensor):
            storage = tensor.storage
            if storage.key not in storages:
                storages[storage.key] = np.frombuffer(data(storage), storage.dtype)
            found[name] = _view(tensor, storages[storage.key])
    return found


def _view(tensor: Tensor, elements: np.ndarray) -> np.ndarray:
    """The tensor as a view of its storage's elements; no view reaches beyond them."""
    shape, strides, itemsize = tensor.shape, tensor.strides, elements.dtype.itemsize
    if len(elements) != tensor.storage.num_elements:
        raise ValueError(f"storage {tensor.storage.key} is cut off")
    if len(shape) != len(strides) or min((tensor.offset, *shape, *strides)) < 0:
        raise ValueError("a tensor of impossible shape")
    if 0 in shape:
        return np.zeros(shape, elements.dtype)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(shape, strides))
    if last >= len(elements):
        raise ValueError("a tensor that reaches beyond its storage")
    return np.lib.stride_tricks.as_strided(
        elements[tensor.offset :], shape, [s * itemsize for s in strides], writeable=False
    )
