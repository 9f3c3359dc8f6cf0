"""Where rows and parameters lie on eight devices. What follows for a run is in `test_mesh.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from bigjax.data.dataset import Dataset
from bigjax.data.pipeline import global_batch
from bigjax.engine import optim, sharding
from bigjax.errors import UserError
from bigjax.models import bert, cnn
from bigjax.trees import leaf_names, map_named

MESHES = ("data=8", "fsdp=8", "data=2,fsdp=2,tensor=2")


# --- the mesh -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("data=8", (8, 1, 1)),
        ("data=-1", (8, 1, 1)),
        ("fsdp=-1", (1, 8, 1)),
        ("data=2,fsdp=4", (2, 4, 1)),
        ("tensor=2, data=-1", (4, 1, 2)),
        ("data=2,fsdp=2,tensor=2", (2, 2, 2)),
        ("data=8,tensor=-1", (8, 1, 1)),
    ],
)
def test_a_mesh_has_the_sizes_that_are_asked_for(spec, shape):
    mesh = sharding.make_mesh(spec)
    assert mesh.axis_names == ("data", "fsdp", "tensor")
    assert mesh.devices.shape == shape
    assert {device.id for device in mesh.devices.flat} == set(range(8))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dat=8", "no axis 'dat'; did you mean 'data'"),
        ("data", "'data' should be data=SIZE"),
        ("data=", "'data=' should be data=SIZE"),
        ("data=two", "'data=two' should be data=SIZE"),
        ("data=0", "'data=0' should be data=SIZE"),
        ("data=-2", "'data=-2' should be data=SIZE"),
        ("data=4", "asks for 4 devices, and there are 8"),
        ("data=3", "asks for 3 devices, and there are 8"),
        ("data=16", "asks for 16 devices, and there are 8"),
        ("data=3,fsdp=-1", "asks for 3 devices times -1, and there are 8"),
        ("data=-1,fsdp=-1", "at most one -1"),
        ("", "asks for 1 devices, and there are 8"),
        ("data=2,data=8", "axis 'data' is given twice"),
    ],
)
def test_a_mesh_that_cannot_be_is_an_error_of_one_line(spec, message):
    with pytest.raises(UserError, match=f"^mesh={spec!r}.*{message}") as error:
        sharding.make_mesh(spec)
    assert "\n" not in str(error.value)


# --- rows -----------------------------------------------------------------------------------------


def toy_dataset(*, batch_rows: int) -> Dataset:
    rows = lambda numbers: {  # noqa: E731
        "x": np.stack([numbers, numbers**2], axis=1).astype(np.float32) + 1,
        "mask": np.ones(len(numbers), bool),
    }
    examples = lambda numbers: numbers[:, None]  # noqa: E731
    return Dataset(
        rows, examples, batch_rows, num_rows=50, num_examples=50, fill=1.0, fingerprint=""
    )


@pytest.mark.parametrize(
    ("spec", "batch_rows", "parts", "expected"),
    [
        ("data=8", 8, 1, 8),
        ("data=8", 9, 1, 16),
        ("data=8", 1, 1, 8),
        ("data=2,fsdp=2,tensor=2", 9, 1, 12),
        ("data=2,fsdp=2,tensor=2", 9, 2, 16),
        ("tensor=8", 9, 4, 12),
        ("tensor=8", 9, 1, 9),
    ],
)
def test_a_batch_grows_to_the_next_multiple(spec, batch_rows, parts, expected):
    found = sharding.padded_rows(
        toy_dataset(batch_rows=batch_rows), mesh=sharding.make_mesh(spec), num_microbatches=parts
    )
    assert found == expected


@pytest.mark.parametrize("spec", [*MESHES, "tensor=8"])
@pytest.mark.parametrize("batch_rows", [5, 8, 11])
def test_a_batch_on_the_mesh_is_the_global_batch(spec, batch_rows):
    dataset, mesh = toy_dataset(batch_rows=batch_rows), sharding.make_mesh(spec)
    num_rows = sharding.padded_rows(dataset, mesh=mesh)
    found = sharding.put_batch(dataset, step=3, mesh=mesh, num_rows=num_rows)
    expected = global_batch(dataset, step=3, rows=np.arange(num_rows))
    assert set(found) == set(expected)
    for name, x in found.items():
        np.testing.assert_array_equal(x, expected[name])
        assert x.sharding == sharding.batch_sharding(mesh)
    assert not np.asarray(found["mask"])[batch_rows:].any()
    numbers = 3 * batch_rows + np.arange(batch_rows)  # as `toy_dataset` writes them, plus 1
    np.testing.assert_array_equal(found["x"][:batch_rows, 0], numbers + 1)


# --- parameters -----------------------------------------------------------------------------------


def shapes(**leaves: tuple[int, ...]):
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in leaves.items()}


def specs(params, **axes: P):
    """Of each leaf the axes that are given by the name of its kind, or none."""
    return map_named(lambda name, _: axes.get(name.rpartition("/")[2], P()), params)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_layers_say_which_mesh_axes_split_their_parameters(scan_layers):
    """Scanned ones have a leading dimension, which stays whole."""
    sizes = bert.Sizes(
        vocab_size=40, num_layers=3, hidden_size=8, num_heads=2, mlp_size=16, max_positions=8
    )
    encoder, zeros = bert.Encoder(sizes, bert.Compute(scan_layers=scan_layers)), jnp.zeros((1, 4))
    init = lambda key: encoder.init(  # noqa: E731
        key, zeros.astype(int), segments_BL=zeros, positions_BL=zeros.astype(int)
    )
    params, found = (tree["params"] for tree in sharding.shapes_and_specs(init))
    assert not [name for name in leaf_names(params) if name.endswith("/value")], "unboxed"
    layers, leading = (found["layers"], (None,)) if scan_layers else (found["layer_2"], ())
    for names, kernel, bias in (
        (("query", "key", "value", "up"), (None, "tensor"), ("tensor",)),
        (("out", "down"), ("tensor", None), (None,)),
    ):
        for name in names:
            assert layers[name]["kernel"] == P(*leading, *kernel), name
            assert layers[name]["bias"] == P(*leading, *bias), name
    assert {*jax.tree.leaves(found["word"]), *jax.tree.leaves(layers["mlp_norm"])} == {P()}


def test_a_convolution_may_be_split_by_its_output_channels():
    network = cnn.fast_cnn(widths=(8, 8))(num_classes=10)
    init = lambda key: network.init(  # noqa: E731
        key, jnp.zeros((1, 8, 8, 3)), mask_B=jnp.ones(1, bool), train=False
    )
    _, found = sharding.shapes_and_specs(init)
    assert found["params"]["conv_0"]["kernel"] == P(None, None, None, "tensor?")
    assert found["params"]["head"]["kernel"] == P(None, None)


def test_fully_sharded_splits_the_largest_dimension_that_is_left_and_divides():
    params = {"a": shapes(kernel=(16, 64), bias=(64,), odd=(30, 16), none=(7, 3), scalar=())}
    mesh = sharding.make_mesh("fsdp=4,tensor=2")
    axes = specs(params, kernel=P(None, "tensor"))
    found = sharding.param_shardings(params, mesh=mesh, specs=axes)["a"]
    assert found["kernel"].spec == P("fsdp", "tensor")
    assert found["bias"].spec == P("fsdp")
    assert found["odd"].spec == P(None, "fsdp")
    assert found["none"].is_fully_replicated and found["scalar"].is_fully_replicated


def test_an_axis_with_a_question_mark_leaves_whole_what_it_does_not_divide():
    params = {"a": shapes(kernel=(3, 8)), "b": shapes(kernel=(3, 5))}
    mesh = sharding.make_mesh("data=4,tensor=2")
    axes = specs(params, kernel=P(None, "tensor?"))
    found = sharding.param_shardings(params, mesh=mesh, specs=axes)
    assert found["a"]["kernel"].spec == P(None, "tensor")
    assert found["b"]["kernel"].is_fully_replicated


def test_a_dimension_that_its_axis_does_not_divide_is_an_error_that_names_both():
    params = {"query": shapes(kernel=(12, 8))}
    axes = specs(params, kernel=P("tensor", None))
    expected = r"^parameter query/kernel \(12, 8\): dimension 12 does not divide by .* tensor=8"
    with pytest.raises(UserError, match=expected):
        sharding.param_shardings(params, mesh=sharding.make_mesh("tensor=8"), specs=axes)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizers_state_fits_its_shardings(name):
    params = {"query": shapes(kernel=(256, 128), bias=(128,))}
    mesh = sharding.make_mesh("fsdp=4,tensor=2")
    axes = specs(params, kernel=P(None, "tensor"))
    where = sharding.param_shardings(params, mesh=mesh, specs=axes)
    tx = optax.partition(
        {"trained": optim.OPTIMIZERS[name]().tx, "frozen": optax.set_to_zero()},
        {"query": {"kernel": "trained", "bias": "frozen"}},
    )
    state = jax.eval_shape(tx.init, params)
    found = sharding.opt_state_shardings(state, params=params, shardings=where, mesh=mesh)
    for leaf, place in zip(jax.tree.leaves(state), jax.tree.leaves(found), strict=True):
        split = 8 if leaf.shape == (256, 128) else 1
        assert np.prod(place.shard_shape(leaf.shape)) * split == np.prod(leaf.shape)
