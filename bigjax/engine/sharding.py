"""Owns the mesh and where arrays lie on it: rows of a batch, leaves of the state.

jit over global arrays does the rest: no code outside this file knows how many devices there are.
"""

import functools
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bigjax.data.dataset import Dataset
from bigjax.data.pipeline import global_batch
from bigjax.errors import UserError, nearest
from bigjax.trees import leaf_names, map_named

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")  # a batch's rows are split over both


def make_mesh(spec: str) -> Mesh:
    """The mesh that `spec` asks for, such as 'data=-1' or 'data=2,fsdp=4', over all devices. An
    axis left out has size 1; -1 takes the devices that are left.

    Raises:
      UserError: an unknown axis or one given twice, a size that is no number, or sizes that do not
        use every device.
    """
    sizes = dict.fromkeys(AXES, 1)
    given: set[str] = set()
    for part in filter(None, (part.strip() for part in spec.split(","))):
        name, _, size = part.partition("=")
        if name not in sizes:
            raise UserError(f"mesh={spec!r}: no axis {name!r}; {nearest(name, AXES)}")
        if not re.fullmatch(r"-1|[1-9][0-9]*", size):
            raise UserError(f"mesh={spec!r}: {part!r} should be {name}=SIZE, SIZE > 0 or -1")
        if name in given:
            raise UserError(f"mesh={spec!r}: axis {name!r} is given twice; give it once")
        given.add(name)
        sizes[name] = int(size)
    num_devices = jax.device_count()
    fixed = math.prod(size for size in sizes.values() if size > 0)
    free = [name for name, size in sizes.items() if size == -1]
    if len(free) > 1 or num_devices % fixed or (not free and fixed != num_devices):
        raise UserError(
            f"mesh={spec!r} asks for {fixed} devices{' times -1' * len(free)}, and there are "
            f"{num_devices}; the product must be {num_devices}, with at most one -1"
        )
    for name in free:
        sizes[name] = num_devices // fixed
    return Mesh(_arranged(tuple(sizes.values())), AXES)


def _arranged(shape: tuple[int, ...]) -> np.ndarray:
    """All devices, those next to each other on a TPU's torus next to each other on the mesh; slices
    of a TPU, which only a network joins, along its first axis."""
    devices = jax.devices()
    if len({getattr(device, "slice_index", 0) for device in devices}) > 1:
        return np.array(devices).reshape(shape)
    return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P(BATCH_AXES))


def batches_sharding(mesh: Mesh) -> NamedSharding:
    """Of several batches on top of each other."""
    return NamedSharding(mesh, P(None, BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def padded_rows(dataset: Dataset, *, mesh: Mesh, num_microbatches: int = 1) -> int:
    """Rows of a global batch with the empty ones that make it divide over mesh and microbatches."""
    multiple = math.prod(mesh.shape[axis] for axis in BATCH_AXES) * num_microbatches
    return -(-dataset.batch_rows // multiple) * multiple


def put_batch(dataset: Dataset, *, step: int, mesh: Mesh, num_rows: int) -> dict[str, jax.Array]:
    """Global batch `step` on the mesh, padded to `num_rows`; each process makes only its rows."""
    rows = rows_of_this_process(mesh, num_rows=num_rows)
    batch = global_batch(dataset, step=step, rows=rows)
    shapes = {name: (num_rows, *x.shape[1:]) for name, x in batch.items()}
    return jax.make_array_from_process_local_data(batch_sharding(mesh), batch, shapes)


def put_batches(
    dataset: Dataset, *, steps: range, most: int, mesh: Mesh, num_rows: int
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Global batches `steps` on the mesh, (most, num_rows, ...), zeros past the last; and how many
    there are, int32."""
    rows = rows_of_this_process(mesh, num_rows=num_rows)
    made = [global_batch(dataset, step=step, rows=rows) for step in steps]

    def stack(*parts: np.ndarray) -> np.ndarray:
        stacked = np.zeros((most, *parts[0].shape), parts[0].dtype)
        stacked[: len(parts)] = parts
        return stacked

    batches = jax.tree.map(stack, *made)
    shapes = {name: (most, num_rows, *x.shape[2:]) for name, x in batches.items()}
    put = jax.make_array_from_process_local_data
    num = put(replicated(mesh), np.int32(len(steps)), ())
    return put(batches_sharding(mesh), batches, shapes), num


def on_mesh(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """`function`, to be jitted, with a mesh that its layers can see while it is traced."""

    @functools.wraps(function)
    def traced(*args: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args)

    return traced


def rows_of_this_process(mesh: Mesh, *, num_rows: int) -> np.ndarray:
    """Which rows of a batch the devices of this process hold, in order; need not be neighbours."""
    places = batch_sharding(mesh).addressable_devices_indices_map((num_rows,)).values()
    return np.unique(np.concatenate([np.arange(num_rows)[place[0]] for place in places]))


def shapes_and_specs(init: Callable[[jax.Array], Any]) -> tuple[Any, Any]:
    """Shapes of the variables that `init` makes of a key, and for each a `PartitionSpec` of the
    mesh axes that its layer wants it split over (`nn.with_partitioning`), empty where it says none.
    """
    boxed = jax.eval_shape(init, jax.random.key(0))
    return nn.meta.unbox(boxed), nn.get_partition_spec(boxed)


def param_shardings(params: Any, *, mesh: Mesh, specs: Any) -> Any:
    """A sharding for each leaf of `params` (arrays or shapes): its spec says what the tensor axis
    splits, and the fsdp axis splits the largest dimension that is left and divides.

    An axis that ends in "?" leaves a dimension whole that it does not divide.

    Raises:
      UserError: a dimension that its axis does not divide.
    """

    def sharding(name: str, leaf: Any, axes: P) -> NamedSharding:
        assert len(axes) <= len(leaf.shape), (name, axes, leaf.shape)
        spec: list[str | None] = []
        for size, axis in itertools.zip_longest(leaf.shape, axes):
            optional = axis is not None and axis.endswith("?")
            axis = axis.removesuffix("?") if axis is not None else None
            if axis is not None and size % mesh.shape[axis]:
                if not optional:
                    raise UserError(
                        f"parameter {name} {tuple(leaf.shape)}: dimension {size} does not divide "
                        f"by mesh axis {axis}={mesh.shape[axis]}; choose another mesh"
                    )
                axis = None
            spec.append(axis)
        free = [i for i, axis in enumerate(spec) if axis is None or mesh.shape[axis] == 1]
        free = [i for i in free if leaf.shape[i] % mesh.shape["fsdp"] == 0]
        if mesh.shape["fsdp"] > 1 and free:
            spec[max(free, key=lambda i: (leaf.shape[i], i))] = "fsdp"
        return NamedSharding(mesh, P(*spec))

    return map_named(sharding, params, specs)


def opt_state_shardings(opt_state: Any, *, params: Any, shardings: Any, mesh: Mesh) -> Any:
    """Shardings for the optimizer's state (shapes): what has the end of its name and the shape of a
    parameter lies where that lies; the rest, such as factored moments, is on every device.

    Args:
      params, shardings: the parameters' shapes and shardings.
    """
    places = dict(zip(leaf_names(params), zip(jax.tree.leaves(params), jax.tree.leaves(shardings))))

    def sharding(name: str, leaf: Any) -> NamedSharding:
        while name not in places:
            _, parted, name = name.partition("/")
            if not parted:
                return replicated(mesh)
        param, place = places[name]
        return place if leaf.shape == param.shape else replicated(mesh)

    return map_named(sharding, opt_state)


def abstract(tree: Any, shardings: Any) -> Any:
    """Shapes of `tree` with their shardings, for `restore`."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings
    )
