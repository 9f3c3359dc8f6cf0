"""Convolutional networks: batch statistics against float64 numpy and Flax, networks against the
same ones in Flax's own layers, their sizes against those of the papers' implementations."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bigjax.errors import UserError
from bigjax.models import cnn
from bigjax.trees import leaf_names

TOLERANCE = 1e-5
CIFAR = (32, 32, 3)
EXISTS = np.arange(8) % 4 != 3  # of eight rows


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def assert_trees_close(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(assert_close, found, expected)


# --- batch normalisation --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def x_BHWC():
    """Eight rows of two channels, of other means and deviations."""
    return normal(8, 3, 5, 2) * np.array([1, 4], np.float32) + 2


@pytest.fixture(scope="module")
def variables():
    stats = {"mean": normal(2, seed=1), "var": np.abs(normal(2, seed=2)) + 0.5}
    return {
        "params": {"scale": normal(2, seed=3), "bias": normal(2, seed=4)},
        "batch_stats": stats,
    }


@functools.partial(jax.jit, static_argnames="train")
def normalised(variables, x_BHWC, *, mask_B, train: bool = True):
    """The output, and the new batch statistics."""
    module = cnn.BatchNorm(jnp.asarray(mask_B), train)
    y_BHWC, state = module.apply(variables, x_BHWC, mutable=["batch_stats"])
    return y_BHWC, state["batch_stats"]


@pytest.mark.parametrize("mask_B", [np.ones(8, bool), EXISTS], ids=["all exist", "some do"])
def test_batch_norm_equals_the_formula_over_the_rows_that_exist(variables, x_BHWC, mask_B):
    y_BHWC, stats = normalised(variables, x_BHWC, mask_B=mask_B)
    wide = np.asarray(x_BHWC, np.float64)[mask_B]
    mean, var = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
    params, old = variables["params"], variables["batch_stats"]
    expected = (wide - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"]
    assert_close(y_BHWC[mask_B], expected)
    assert_close(stats["mean"], 0.9 * old["mean"] + 0.1 * mean)
    assert_close(stats["var"], 0.9 * old["var"] + 0.1 * var)


@pytest.mark.parametrize("mask_B", [np.ones(8, bool), EXISTS], ids=["all exist", "some do"])
def test_batch_norm_equals_flaxs_and_so_do_its_gradients(variables, x_BHWC, mask_B):
    weights = normal(*x_BHWC.shape, seed=5) * mask_B.reshape(-1, 1, 1, 1)
    flaxs = nn.BatchNorm(
        use_running_average=False, momentum=0.9, epsilon=1e-5, use_fast_variance=False
    )
    kwargs = {} if mask_B.all() else {"mask": jnp.asarray(mask_B).reshape(-1, 1, 1, 1)}

    def by_flax(variables, x_BHWC):
        y_BHWC, state = flaxs.apply(variables, x_BHWC, mutable=["batch_stats"], **kwargs)
        return y_BHWC, state["batch_stats"]

    def gradients(norm):
        def loss(params, x_BHWC):
            y_BHWC, stats = norm(variables | {"params": params}, x_BHWC)
            return (y_BHWC * weights).sum(), (y_BHWC[mask_B], stats)

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x_BHWC)

    with jax.numpy_rank_promotion("allow"):  # Flax's layers need it
        expected = gradients(by_flax)
    assert_trees_close(gradients(functools.partial(normalised, mask_B=mask_B)), expected)


def test_rows_that_do_not_exist_change_nothing(variables, x_BHWC):
    """Whatever they hold, and however many they are; and their own gradient is none."""
    rows = x_BHWC[EXISTS]
    alone, stats = normalised(variables, rows, mask_B=np.ones(len(rows), bool))
    padding = 100 * normal(5, *rows.shape[1:], seed=6)
    mask_B = np.arange(len(rows) + 5) < len(rows)

    def loss(padding):
        x_BHWC = jnp.concatenate([rows, padding])
        y_BHWC, stats = normalised(variables, x_BHWC, mask_B=mask_B)
        return jnp.square(y_BHWC[: len(rows)]).sum(), (y_BHWC, stats)

    gradient, (y_BHWC, padded_stats) = jax.jit(jax.grad(loss, has_aux=True))(padding)
    assert_close(y_BHWC[: len(rows)], alone)
    assert_trees_close(padded_stats, stats)
    np.testing.assert_array_equal(gradient, 0.0)


def test_a_batch_without_any_row_leaves_no_nan_behind(variables, x_BHWC):
    y_BHWC, stats = normalised(variables, x_BHWC, mask_B=np.zeros(8, bool))
    assert all(np.isfinite(x).all() for x in (y_BHWC, *jax.tree.leaves(stats)))


def test_evaluation_takes_the_running_statistics_and_leaves_them_alone(variables, x_BHWC):
    y_BHWC, stats = normalised(variables, x_BHWC, mask_B=EXISTS, train=False)
    params, old = variables["params"], variables["batch_stats"]
    centred = np.asarray(x_BHWC, np.float64) - old["mean"]
    expected = centred / np.sqrt(old["var"] + 1e-5) * params["scale"] + params["bias"]
    assert_close(y_BHWC, expected)
    jax.tree.map(np.testing.assert_array_equal, stats, old)


def test_statistics_begin_as_those_of_the_normal_distribution(x_BHWC):
    module = cnn.BatchNorm(jnp.asarray(EXISTS), train=True)
    found = jax.jit(module.init)(jax.random.key(0), x_BHWC)["batch_stats"]
    np.testing.assert_array_equal(found["mean"], [0, 0])
    np.testing.assert_array_equal(found["var"], [1, 1])


def test_a_batch_on_eight_devices_has_the_statistics_of_the_whole(variables, x_BHWC):
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    split = jax.device_put(x_BHWC, NamedSharding(mesh, PartitionSpec("rows")))
    assert len(split.sharding.device_set) == 8
    found = normalised(variables, split, mask_B=EXISTS)
    assert_trees_close(found, normalised(variables, x_BHWC, mask_B=EXISTS))


# --- networks -------------------------------------------------------------------------------------


def make(name: str, *, num_classes: int = 10, **settings) -> nn.Module:
    return cnn.NETWORKS[name](**settings)(num_classes=num_classes)


def apply(model: nn.Module, variables, x_BHWC, *, mask_B, train: bool):
    """Logits, and the new collections."""
    return model.apply(variables, x_BHWC, mask_B=mask_B, train=train, mutable=["batch_stats"])


def init(model: nn.Module, *, shape: tuple[int, ...], seed: int = 0):
    one = jnp.zeros((1, *shape))
    boxed = model.init(jax.random.key(seed), one, mask_B=jnp.ones(1, bool), train=False)
    return nn.meta.unbox(boxed)


def shapes_of(model: nn.Module, *, shape: tuple[int, ...]):
    return jax.eval_shape(functools.partial(init, model, shape=shape))


def count(tree) -> int:
    return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))


IMAGENET = {"stem": "imagenet", "num_classes": 1000}


@pytest.mark.parametrize(
    ("name", "settings", "shape", "expected"),
    [
        ("small_cnn", {}, CIFAR, 122_570),
        ("small_cnn", {"padding": 1}, (8, 8, 1), 72_842),
        ("resnet18", {}, CIFAR, 11_173_962),
        ("resnet34", {}, CIFAR, 21_282_122),
        ("resnet50", {}, CIFAR, 23_520_842),
        ("resnet18", IMAGENET, (224, 224, 3), 11_689_512),
        ("resnet34", IMAGENET, (224, 224, 3), 21_797_672),
        ("resnet50", IMAGENET, (224, 224, 3), 25_557_032),
    ],
)
def test_a_network_has_as_many_parameters_as_the_published_one(name, settings, shape, expected):
    assert count(shapes_of(make(name, **settings), shape=shape)["params"]) == expected


def test_the_fast_network_has_the_parameters_of_its_layers():
    layers = [(2 * 2 * 3, 8)] + [(9 * a, b) for a, b in ((8, 16), (16, 16), (16, 32), (32, 32))]
    expected = sum(fan_in * features + 2 * features for fan_in, features in layers)  # and norms
    model = make("fast_cnn", widths=(8, 16, 32))
    assert count(shapes_of(model, shape=CIFAR)["params"]) == expected + (32 + 1) * 10


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("small_cnn", {}, CIFAR),
        ("small_cnn", {"padding": 1}, (8, 8, 1)),
        ("fast_cnn", {}, CIFAR),
        ("fast_cnn", {}, (8, 8, 1)),
        ("fast_cnn", {}, (29, 31, 3)),
        ("resnet18", {}, (8, 8, 1)),
        ("resnet50", {"stem": "imagenet", "remat": "full"}, (64, 48, 3)),
    ],
)
def test_logits_and_parameters_are_float32(name, settings, shape, dtype):
    """And bfloat16 and remat are there where they are asked for, and nowhere else."""
    model = make(name, num_classes=7, dtype=dtype, **settings)
    variables = shapes_of(model, shape=shape)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    pixels = jax.ShapeDtypeStruct((4, *shape), jnp.float32)
    for train in (False, True):
        run = functools.partial(apply, model, mask_B=np.ones(4, bool), train=train)
        program, (logits_BK, state) = jax.make_jaxpr(run, return_shape=True)(variables, pixels)
        assert ("bf16" in str(program)) == (dtype == "bfloat16")
        assert ("remat" in str(program)) == ("remat" in settings)
        assert (logits_BK.shape, logits_BK.dtype) == ((4, 7), jnp.float32)
        assert jax.tree.structure(state.get("batch_stats", {})) == jax.tree.structure(
            variables.get("batch_stats", {})
        )


@pytest.mark.parametrize(
    ("stem", "shape", "sides"),
    [("cifar", CIFAR, (32, 16, 8, 4)), ("imagenet", (224, 224, 3), (56, 28, 14, 7))],
)
def test_each_stage_of_a_residual_network_halves_the_image(stem, shape, sides):
    model = make("resnet50", stem=stem)
    run = lambda variables: model.apply(  # noqa: E731
        variables,
        jnp.zeros((1, *shape)),
        mask_B=jnp.ones(1, bool),
        train=False,
        capture_intermediates=lambda module, _: isinstance(module, cnn.Bottleneck),
        mutable=["intermediates"],
    )
    _, state = jax.eval_shape(run, shapes_of(model, shape=shape))
    found = {name: x["__call__"][0].shape for name, x in state["intermediates"].items()}
    for i, (side, blocks) in enumerate(zip(sides, (3, 4, 6, 3))):
        for j in range(blocks):
            assert found.pop(f"stage_{i}_block_{j}") == (1, side, side, 256 * 2**i)
    assert not found


@pytest.mark.parametrize(
    ("name", "settings", "shape", "layer"),
    [
        ("small_cnn", {}, (8, 8, 1), "3x3 convolution 'conv_2' of padding 0"),
        ("small_cnn", {"padding": 1}, (2, 2, 1), "3x3 convolution 'conv_2' of padding 1"),
        ("fast_cnn", {}, (1, 1, 3), "2x2 convolution 'patches' of padding 0"),
    ],
)
def test_images_that_are_too_small_are_one_clear_line(name, settings, shape, layer):
    with pytest.raises(UserError, match="^the images are too small for this network: ") as error:
        shapes_of(make(name, **settings), shape=shape)
    assert f"pixels reach its {layer};" in str(error.value)
    assert "\n" not in str(error.value)


# --- values ---------------------------------------------------------------------------------------


def random_variables(model: nn.Module):
    """Without the zeros and ones that parameters start as, so that no part of a network is idle."""

    def make(path, leaf):
        noise = normal(*leaf.shape, seed=len(jax.tree_util.keystr(path)))
        name = path[-1].key
        if name == "kernel":
            return noise * np.float32(math.sqrt(2 / math.prod(leaf.shape[:-1])))
        return {"var": 1 + np.abs(noise), "scale": 1 + noise / 4}.get(name, noise / 4)

    return jax.tree_util.tree_map_with_path(make, shapes_of(model, shape=PIXELS.shape[1:]))


# A residual network of both kinds of shortcut, and small enough to run.
TINY = cnn.ResNet(
    num_classes=10, stages=(1, 1), block=cnn.BasicBlock, stem="cifar", dtype="float32", remat="none"
)
NETWORKS = {
    "small": make("small_cnn", padding=1),
    "fast": make("fast_cnn", widths=(8, 16, 32)),
    "residual": TINY,
}
PIXELS = normal(6, 8, 8, 3, seed=9)


@functools.cache
def variables_of(name: str):
    return random_variables(NETWORKS[name])


@functools.cache
def runner(name: str, *, dtype: str = "float32", train: bool):
    """The jitted network: (variables, images, mask_B=) -> logits and new collections."""
    return jax.jit(functools.partial(apply, NETWORKS[name].clone(dtype=dtype), train=train))


@pytest.mark.parametrize("name", NETWORKS)
def test_in_evaluation_each_row_is_by_itself(name):
    run, variables = runner(name, train=False), variables_of(name)
    whole = run(variables, PIXELS, mask_B=np.ones(6, bool))[0]
    others = np.concatenate([PIXELS[:1], normal(5, 8, 8, 3, seed=10)])
    mask_B = np.arange(6) == 0
    found = run(variables, others, mask_B=mask_B)[0]
    assert_close(found[0], whole[0])
    assert not np.allclose(found[1:], whole[1:], atol=0.01)


@pytest.mark.parametrize("name", ["fast", "residual"])
def test_in_training_rows_that_do_not_exist_change_no_other(name):
    run, variables, exists = runner(name, train=True), variables_of(name), np.arange(6) < 4
    first, first_state = run(variables, PIXELS, mask_B=exists)
    changed = np.concatenate([PIXELS[:4], 5 * normal(2, 8, 8, 3, seed=10)])
    second, second_state = run(variables, changed, mask_B=exists)
    assert_close(first[:4], second[:4])
    assert_trees_close(first_state, second_state)


@pytest.mark.parametrize("name", ["small", "residual"])
def test_bfloat16_is_near_float32(name):
    inputs = {"variables": variables_of(name), "x_BHWC": PIXELS, "mask_B": np.ones(6, bool)}
    logits, state = runner(name, train=True)(**inputs)
    found, found_state = runner(name, dtype="bfloat16", train=True)(**inputs)
    off = np.linalg.norm(found - logits) / np.linalg.norm(logits)
    assert 1e-5 < off < 2**-5  # an operand is off by 2^-9 of itself, and layers add that up
    near = functools.partial(np.testing.assert_allclose, rtol=2**-5, atol=2**-5)
    jax.tree.map(near, found_state, state)


def loss_and_gradient(model, variables):
    def loss(params):
        given = variables | {"params": params}
        logits, state = apply(model, given, PIXELS, mask_B=np.ones(6, bool), train=True)
        return jnp.square(logits).mean(), state

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])


def test_remat_changes_no_value_and_no_gradient():
    """And the names of parameters are the same, so checkpoints are too."""
    model = TINY.clone(stages=(1,))
    variables = random_variables(model)
    found = loss_and_gradient(model.clone(remat="full"), variables)
    assert_trees_close(found, loss_and_gradient(model, variables))


def test_the_small_network_equals_the_tutorials_in_flaxs_layers():
    params = variables_of("small")["params"]

    @jax.jit
    def expected(x):
        for i in range(3):
            x = nn.max_pool(x, (2, 2), strides=(2, 2)) if i else x
            x = nn.relu(flax_conv(params[f"conv_{i}"] | params[f"bias_{i}"], x, use_bias=True))
        for name, activation in (("dense", nn.relu), ("head", lambda x: x)):
            dense = nn.Dense(len(params[name]["bias"]), precision="highest")
            x = activation(dense.apply({"params": params[name]}, x.reshape(len(x), -1)))
        return x

    found = runner("small", train=True)({"params": params}, PIXELS, mask_B=np.ones(6, bool))
    assert_close(found[0], by_flax(expected))


@pytest.mark.parametrize(("block", "strided", "last"), [("Basic", 0, 1), ("Bottleneck", 1, 2)])
def test_the_residual_network_equals_one_in_flaxs_layers(block, strided, last):
    """strided, last: numbers of the convolution that has a block's strides, and of its last one."""
    model = TINY if block == "Basic" else TINY.clone(block=cnn.Bottleneck)
    variables = random_variables(model)

    def norm(variables, name, x):
        layer = nn.BatchNorm(use_running_average=True, epsilon=1e-5)
        return layer.apply({kind: tree[name] for kind, tree in variables.items()}, x)

    @jax.jit
    def expected(x):
        x = nn.relu(norm(variables, "stem_norm", flax_conv(variables["params"]["stem"], x)))
        for i, strides in ((0, 1), (1, 2)):
            inside = {kind: tree[f"stage_{i}_block_0"] for kind, tree in variables.items()}
            params, y = inside["params"], x
            for j in range(last + 1):
                y = flax_conv(params[f"conv_{j}"], y, strides=strides if j == strided else 1)
                y = norm(inside, f"norm_{j}", y)
                y = y if j == last else nn.relu(y)
            if "shortcut" in params:
                x = flax_conv(params["shortcut"], x, strides=strides)
                x = norm(inside, "shortcut_norm", x)
            x = nn.relu(x + y)
        head = variables["params"]["head"]
        return x.mean((1, 2)) @ head["kernel"] + head["bias"]

    found = jax.jit(functools.partial(apply, model, train=False))
    found = found(variables, PIXELS, mask_B=np.ones(6, bool))
    assert_close(found[0], by_flax(expected))


def by_flax(network):
    with jax.numpy_rank_promotion("allow"):  # Flax's layers need it
        return network(PIXELS)


def flax_conv(params, x, *, strides: int = 1, use_bias: bool = False):
    """Padded with one zero for a size of 3 and none for 1, not as "SAME" does it for strides."""
    size, _, _, features = params["kernel"].shape
    layer = nn.Conv(
        features,
        (size, size),
        strides=strides,
        padding=size // 2,
        use_bias=use_bias,
        precision="highest",
    )
    return layer.apply({"params": params}, x)


@pytest.mark.parametrize("block", [cnn.BasicBlock, cnn.Bottleneck])
def test_a_residual_block_starts_as_the_identity(block):
    """By the scale of its last normalisation; XLA leaves out all that the scales do not need."""
    model = TINY.clone(block=block)

    @jax.jit
    def scales():
        params = init(model, shape=PIXELS.shape[1:])["params"]
        return {n: x for n, x in zip(leaf_names(params), jax.tree.leaves(params)) if "scale" in n}

    last = "norm_1/scale" if block is cnn.BasicBlock else "norm_2/scale"
    for name, found in scales().items():
        np.testing.assert_array_equal(found, 0.0 if name.endswith(f"/{last}") else 1.0)
