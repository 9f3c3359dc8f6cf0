"""Owns the export that JAX alone runs, without Flax and without this program: functions of
parameters and inputs in StableHLO, and the parameters beside them."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from bigjax.errors import UserError
from bigjax.export.folder import write_beside
from bigjax.tasks.portable import Portable
from bigjax.trees import leaf_names, map_named

PLATFORMS = ("cpu", "cuda", "tpu")
INSTALL = "pip install jax flatbuffers safetensors tokenizers, or name another --runtime=PYTHON"
FILE = "model.stablehlo"


def write(folder: Path, portable: Portable, params: Any) -> Mapping[str, Mapping[str, int]]:
    """Writes a function of any sizes and those of fixed ones, which some runtimes ask for; returns
    the names of the latter with their sizes.

    Raises:
      UserError: flatbuffers, which `jax.export` writes with, is not installed.
    """
    try:
        import flatbuffers  # noqa: F401
    except ImportError:
        raise UserError(
            "--format=stablehlo needs the package flatbuffers: pip install 'bigjax[export]'"
        ) from None
    arrays = dict(zip(leaf_names(params), map(np.ascontiguousarray, jax.tree.leaves(params))))
    save_file(arrays, folder / "params.safetensors")

    def function(arrays: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array]) -> jax.Array:
        return portable.apply(map_named(lambda name, _: arrays[name], params), inputs)

    (folder / FILE).write_bytes(_serialized(function, arrays, portable, _symbols(portable)))
    (folder / "buckets").mkdir()
    files = {}
    for sizes in portable.buckets:
        name = "_".join(itertools.chain(*((dim, str(n)) for dim, n in sizes.items())))
        files[f"buckets/{name}.stablehlo"] = sizes
        (folder / "buckets" / f"{name}.stablehlo").write_bytes(
            _serialized(function, arrays, portable, sizes)
        )
    write_beside(folder, portable, params, runtime="stablehlo_example.py.txt")
    return files


def _symbols(portable: Portable) -> dict[str, Any]:
    """The dimensions that vary, as symbols."""
    dims = itertools.chain(*(found.dims for found in portable.inputs.values()))
    names = list(dict.fromkeys(dim for dim in dims if isinstance(dim, str)))
    limits = [f"{name} <= {most}" for name, most in portable.limits.items()]
    return dict(zip(names, jax.export.symbolic_shape(", ".join(names), constraints=limits)))


def _serialized(
    function: Any, arrays: Mapping[str, np.ndarray], portable: Portable, sizes: Mapping[str, Any]
) -> bytes:
    inputs = {
        name: jax.ShapeDtypeStruct([sizes.get(dim, dim) for dim in found.dims], found.dtype)
        for name, found in portable.inputs.items()
    }
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in arrays.items()}
    made = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shapes, inputs)
    return bytes(made.serialize())
