"""That a mesh changes nothing beyond rounding, in both tasks: losses of many updates, what a device
holds, and what devices say to each other, asserted on the text of the compiled step."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from conftest import ROOT
from jax.sharding import Mesh

from bigjax.config import values as configs
from bigjax.engine import collectives, settings, sharding
from bigjax.engine.build import Setup
from bigjax.engine.build import build as build_setup
from bigjax.engine.state import TrainState
from bigjax.errors import UserError
from bigjax.loop import starting_points

TOLERANCE = 1e-5
NUM_STEPS, FEW_STEPS = 50, 10
MIXED = "data=2,fsdp=2,tensor=2"
MESHES = ("data=8", "fsdp=8", MIXED)
ROW_LENGTH, NUM_LAYERS, HIDDEN = 24, 2, 16
TAGGING = {
    "num_epochs": "none",
    "num_steps": str(NUM_STEPS),
    "text.vocab_size": "200",
    "text.row_length": str(ROW_LENGTH),
    "model.num_layers": "1",
    "model.hidden_size": str(HIDDEN),
    "model.num_heads": "2",
    "model.mlp_size": "32",
    "model.dropout": "0.2",
    "model.attention_dropout": "0.2",
    "data.num_train": "40",
    "data.num_dev": "4",
    "data.num_test": "4",
    "batch.examples": "none",
    "batch.rows": "11",
}
IMAGES = {
    "num_epochs": "none",
    "num_steps": str(NUM_STEPS),
    "data.num_dev": "25",
    "data.num_test": "1572",
    "batch.rows": "30",
    "augment.mixup_alpha": "0.4",
    "augment.cutmix_alpha": "1",
}
FILES = {
    "tagging": f"{ROOT}/configs/bert_ner.py:scratch",
    "images": f"{ROOT}/configs/cnn_digits.py",
}
TASKS = tuple(FILES)
WITH_STATISTICS = "images with batch statistics"
FILES[WITH_STATISTICS] = f"{ROOT}/configs/cnn_digits.py:residual"


def build(task: str, spec: str, overrides: dict[str, str]) -> Setup:
    given = (TAGGING if task == "tagging" else IMAGES) | {"mesh": spec}
    if task == WITH_STATISTICS:  # Adam would make full steps of gradients that are rounding alone
        given |= {"optim.name": "sgd", "optim.momentum": "0.9", "optim.learning_rate": "0.02"}
    given |= overrides
    with pytest.MonkeyPatch.context() as patch:
        if spec == "one device":
            one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), sharding.AXES)
            patch.setattr(sharding, "make_mesh", lambda spec: one)  # noqa: ARG005
        return build_setup(configs.load(FILES[task], overrides=given, schema=settings.schema))


@functools.cache
def setup_of(task: str, spec: str, num_parts: int = 1) -> Setup:
    return build(task, spec, {"batch.accumulate": str(num_parts)})


class Run(NamedTuple):
    """The parameters before the first update, the loss of each, the state after the last."""

    begin: Any
    losses: list[float]
    state: TrainState


@functools.cache
def run_on(task: str, spec: str, num_parts: int = 1, num_steps: int = FEW_STEPS) -> Run:
    setup = setup_of(task, spec, num_parts)
    state, _ = starting_points.new_state(setup)
    begin, losses = jax.tree.map(np.array, jax.device_get(state.params)), []
    for step in range(num_steps):
        state, scalars = setup.train_step(state, setup.put(range(step, step + 1)))
        losses.append(float(scalars["loss"]))
    return Run(begin, losses, state)


def assert_losses_are_those_of_one_device(*which: str | int, num_steps: int) -> None:
    """No number of rows here divides by the devices. Batch statistics are those of a part."""
    task, spec, num_parts = which
    expected = run_on(task, "one device", num_parts, num_steps).losses
    assert expected[-1] < expected[0] - 100 * TOLERANCE
    found = run_on(task, spec, num_parts, num_steps).losses
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


PARTS = {"data=8": 1, "fsdp=8": 1, MIXED: 4}  # of the few, each of which is compiled once
FEW = [(task, spec, parts) for task in TASKS for spec, parts in PARTS.items()]
ALL = [(task, spec, parts) for task in TASKS for spec in MESHES for parts in (1, 4)]
BATCH_STATISTICS = [(WITH_STATISTICS, "data=8", 1), (WITH_STATISTICS, MIXED, 4)]


@pytest.mark.parametrize(("task", "spec", "num_parts"), FEW)
def test_losses_of_ten_updates_are_those_of_one_device(task, spec, num_parts):
    assert_losses_are_those_of_one_device(task, spec, num_parts, num_steps=FEW_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "spec", "num_parts"), ALL + BATCH_STATISTICS)
def test_losses_of_fifty_updates_are_those_of_one_device(task, spec, num_parts):
    assert_losses_are_those_of_one_device(task, spec, num_parts, num_steps=NUM_STEPS)


@pytest.mark.parametrize("task", TASKS)
def test_accumulation_changes_no_loss_where_rows_do_not_depend_on_each_other(task):
    whole, parts = (run_on(task, "one device", num_parts).losses for num_parts in (1, 4))
    np.testing.assert_allclose(parts, whole, rtol=TOLERANCE)


@pytest.mark.parametrize("spec", MESHES)
@pytest.mark.parametrize("task", TASKS)
def test_initial_parameters_are_bitwise_those_of_one_device(task, spec):
    expected = run_on(task, "one device").begin
    jax.tree.map(np.testing.assert_array_equal, run_on(task, spec, PARTS[spec]).begin, expected)


# --- what a device holds --------------------------------------------------------------------------


def bytes_on_a_device(tree) -> int:
    """Of the arrays themselves, on the first device."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


def bytes_by_hand(params, *, fsdp: int, tensor: int) -> int:
    """Kernels of the encoder and biases of query, key, value and up are split by tensor; everything
    is split by fsdp along a dimension that is not, if one divides."""
    total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [key.key for key in path]
        sizes = list(leaf.shape)
        split = 1
        if names[0] == "encoder" and tensor > 1:
            first = names[-2] in ("query", "key", "value", "up")
            if names[-1] == "kernel":
                split *= tensor
                sizes.pop(-1 if first else 0)
            elif names[-1] == "bias" and first:
                split *= tensor
                sizes.pop()
        if any(size % fsdp == 0 for size in sizes):
            split *= fsdp
        total += leaf.size * leaf.dtype.itemsize // split
    return total


@pytest.mark.parametrize(
    ("spec", "fsdp", "tensor"), [("data=8", 1, 1), ("fsdp=8", 8, 1), (MIXED, 2, 2)]
)
def test_each_device_holds_its_part_of_the_state_and_no_more(spec, fsdp, tensor):
    setup = setup_of("tagging", spec, PARTS[spec])
    state = run_on("tagging", spec, PARTS[spec]).state
    expected = bytes_by_hand(state.params, fsdp=fsdp, tensor=tensor)
    assert bytes_on_a_device(state.params) == expected
    adam = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
    assert bytes_on_a_device(adam) == 2 * expected
    planned = jax.tree.map(lambda x: x.sharding, setup.state)
    assert jax.tree.map(lambda x: x.sharding, state) == planned


@pytest.mark.parametrize("task", TASKS)
def test_fully_sharded_on_eight_devices_needs_an_eighth_of_the_memory(task):
    whole, split = (bytes_on_a_device(run_on(task, spec).state) for spec in ("data=8", "fsdp=8"))
    assert split * 8 == pytest.approx(whole, rel=0.05)


def test_a_model_that_does_not_divide_is_an_error_before_anything_is_built():
    with pytest.raises(UserError, match="dimension 12 does not divide by mesh axis tensor=8"):
        build("tagging", "tensor=8", {"model.hidden_size": "12"})


# --- what devices say to each other ---------------------------------------------------------------

LARGER = {  # so that activations of a device, tables of embeddings and layers differ in size
    "text.vocab_size": "1000",
    "text.row_length": "64",
    "model.num_layers": str(NUM_LAYERS),
    "model.hidden_size": "128",
    "model.mlp_size": "512",
    "batch.rows": "64",
    "data.num_train": "400",
}
SCALARS = 1000  # bytes of losses, norms and counts, which are summed over devices too


def bytes_of(tree, *, over: tuple[str, ...] = ()) -> int:
    """Of shapes with shardings, on one device that holds what lies on other places of the axes
    `over` as well."""

    def size(x) -> int:
        axes = [axis for axis in jax.tree.leaves(tuple(x.sharding.spec)) if axis in over]
        local = np.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
        return int(local) * int(np.prod([x.sharding.mesh.shape[axis] for axis in axes]))

    return sum(map(size, jax.tree.leaves(tree)))


def compiled(task: str, spec: str, overrides: dict[str, str]):
    """The collectives of an update, and the shapes of the parameters."""
    built = build(task, spec, overrides)
    return collectives.count(built.compiled.as_text()), built.state.params


SIZES = [("tagging", LARGER), ("tagging", LARGER | {"model.scan_layers": "True"})]
SIZES += [("images", {"batch.rows": "128"})]


@pytest.mark.parametrize(("task", "overrides"), SIZES)
def test_data_parallel_sums_each_gradient_once_and_says_nothing_else(task, overrides):
    found, params = compiled(task, "data=8", overrides)
    assert set(found) == {"all-reduce"}
    assert 0 <= found["all-reduce"].num_bytes - bytes_of(params) < SCALARS


@pytest.mark.parametrize(("task", "overrides"), SIZES)
def test_fully_sharded_gathers_parameters_sums_gradients_and_moves_no_activation(task, overrides):
    """Scanned layers are gathered anew in the backward pass, so that no device ever holds all.
    XLA for CPUs knows no reduce-scatter: it sums and then cuts."""
    found, params = compiled(task, "fsdp=8", overrides)
    assert set(found) == {"all-gather", "all-reduce"}
    assert 0 <= found["all-reduce"].num_bytes - bytes_of(params, over=("fsdp",)) < SCALARS
    kernels = {
        layer: value["kernel"]
        for layer, value in params.get("encoder", {}).get("layers", {}).items()
        if "kernel" in value
    }
    gathered = bytes_of((params, kernels), over=("fsdp",))
    norms = 0.01 * gathered  # some of their scales are gathered twice
    assert abs(found["all-gather"].num_bytes - gathered) < norms


@pytest.mark.parametrize("scanned", ["False", "True"])
def test_tensor_parallel_sums_activations_six_times_a_layer(scanned):
    """Behind `out` and `down`, and in the backward pass before query, key, value and `up`. What is
    small is not gathered: a kernel may be cut anew where it is whole on several devices."""
    overrides = LARGER | {"model.scan_layers": scanned}
    found, params = compiled("tagging", MIXED, overrides)
    assert set(found) <= {"all-gather", "all-reduce", "collective-permute"}
    activations = NUM_LAYERS * 6 * (64 // 4) * 64 * 128 * 4
    gradients = bytes_of(params, over=("fsdp",))
    sums = found["all-reduce"].num_bytes
    assert activations + gradients <= sums <= activations + 1.5 * gradients + SCALARS
    assert found["all-gather"].num_bytes < 1.7 * gradients
    assert found.get("collective-permute", collectives.Collective(0, 0)).num_bytes < 0.01 * sums


def test_a_convolution_under_tensor_parallel_moves_its_activations_and_little_else():
    found, params = compiled("images", MIXED, {"batch.rows": "128"})
    assert set(found) <= {"all-gather", "all-reduce", "collective-permute"}
    outputs = (128 // 4) * (8 * 8 * 32 + 4 * 4 * 64 + 2 * 2 * 64) * 4
    gradients = bytes_of(params, over=("fsdp",))
    assert abs(found["all-gather"].num_bytes - outputs - gradients) < 0.02 * outputs
    patches = (128 // 4) * (4 * 4 * 9 * 32 + 2 * 2 * 9 * 64) * 4
    assert found["all-reduce"].num_bytes < patches + 1.5 * gradients
    assert found["collective-permute"].num_bytes < 0.25 * gradients
