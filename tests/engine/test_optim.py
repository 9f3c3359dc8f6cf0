"""The optimizer against optax's own, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigjax.config.fields import fields_of
from bigjax.config.sections import Optimization
from bigjax.engine import optim, schedules
from bigjax.errors import UserError
from bigjax.models import bert

TOLERANCE = 1e-6
PEAK = 0.01

DECAY_RULES = ((r".*(bias|scale)", 0.0), (r".*", 1.0))


# --- optimizers -----------------------------------------------------------------------------------


def tree(*, seed: int) -> dict:
    """Parameters named as an encoder's: two layers, embeddings, a head."""
    rng = np.random.default_rng(seed)
    array = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    layer = lambda: {"out": {"kernel": array(4, 3), "bias": array(3)}, "norm": {"scale": array(3)}}  # noqa: E731
    return {
        "encoder": {"word": {"embedding": array(6, 4)}, "layer_0": layer(), "layer_1": layer()},
        "head": {"kernel": array(3, 2), "bias": array(2)},
    }


PARAMS = tree(seed=0)
DEPTHS = {
    "encoder": bert.layer_depths(PARAMS["encoder"], num_layers=2),
    "head": {"kernel": 3, "bias": 3},
}


def make(params=PARAMS, *, depths=DEPTHS, name="adamw", **options) -> optim.Optimizer:
    schedule = schedules.make_schedule(
        schedules.cosine, learning_rate=PEAK, total_steps=20, warmup_steps=4
    )
    own = {key: options.pop(key) for key in fields_of(optim.OPTIMIZERS[name]) if key in options}
    settings = Optimization(**{"learning_rate": PEAK, "clip_norm": None} | options)
    direction = optim.OPTIMIZERS[name](**own)
    return optim.make_optimizer(
        params, settings=settings, direction=direction, schedule=schedule, depths=depths
    )


def run(optimizer: optim.Optimizer, *, num_steps: int = 8) -> list:
    """The parameters after each of `num_steps` updates, as the train step does them."""

    @jax.jit
    def update(params, opt_state, grads, step):
        updates, opt_state = optimizer.tx.update(grads, opt_state, params)
        rate = optimizer.schedule(step)
        return jax.tree.map(lambda p, u: p - rate * u, params, updates), opt_state

    params, opt_state, history = PARAMS, optimizer.tx.init(PARAMS), []
    for step in range(num_steps):
        grads = gradient(params, step=step)
        params, opt_state = update(params, opt_state, grads, jnp.int32(step))
        history.append(params)
    return history


def run_optax(tx: optax.GradientTransformation, *, num_steps: int = 8) -> list:
    params, opt_state, history = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for step in range(num_steps):
        updates, opt_state = update(gradient(params, step=step), opt_state, params)
        params = optax.apply_updates(params, updates)
        history.append(params)
    return history


def gradient(params, *, step: int):
    """Some gradient that depends on the parameters and the step."""
    return jax.tree.map(jnp.add, params, tree(seed=100 + step))


def assert_histories_equal(found: list, expected: list) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=TOLERANCE), a, b)


def decay_mask(params):
    """What DECAY_RULES say, by hand: kernels and embeddings."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key in ("kernel", "embedding"), params
    )


def cosine_schedule():
    return make().schedule


def test_adamw_equals_optaxs_with_a_mask_step_by_step():
    found = run(make(weight_decay=0.1, clip_norm=0.5, b2=0.98))
    expected = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(cosine_schedule(), b2=0.98, weight_decay=0.1, mask=decay_mask),
    )
    assert_histories_equal(found, run_optax(expected))


def test_without_a_clip_norm_gradients_are_not_clipped():
    assert_histories_equal(run(make(name="sgd")), run_optax(optax.sgd(cosine_schedule())))
    clipped = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(cosine_schedule()))
    assert_histories_equal(run(make(name="sgd", clip_norm=1.0)), run_optax(clipped))


OPTAX = {
    "adam": lambda rate: optax.adam(rate),
    "nadamw": lambda rate: optax.nadamw(rate, weight_decay=0.1, mask=decay_mask),
    "lion": lambda rate: optax.lion(rate, weight_decay=0.1, mask=decay_mask),
    "lamb": lambda rate: optax.lamb(rate, weight_decay=0.1, mask=decay_mask),
    "sgd": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "rmsprop": lambda rate: optax.rmsprop(rate, decay=0.9),
}
OPTIONS = {
    "adam": {},
    "sgd": {"momentum": 0.9, "nesterov": True},
    "rmsprop": {},
}


@pytest.mark.parametrize("name", OPTAX)
def test_each_optimizer_equals_optaxs(name):
    found = run(make(name=name, **OPTIONS.get(name, {"weight_decay": 0.1})))
    assert_histories_equal(found, run_optax(OPTAX[name](cosine_schedule())))


def test_adafactor_factors_its_second_moment_and_steps_downhill():
    """optax's own adafactor multiplies by the parameter's norm besides, so there is no equal."""
    optimizer = make(name="adafactor", min_dim_size_to_factor=3)
    sizes = {x.size for x in jax.tree.leaves(optimizer.tx.init(PARAMS))}
    assert 6 * 4 not in sizes and {6, 4} <= sizes
    last = run(optimizer, num_steps=20)[-1]
    assert optax.tree.norm(last) < optax.tree.norm(PARAMS)


def test_every_optimizer_of_the_table_is_tested_here():
    assert {*OPTAX, "adamw", "adafactor", "lbfgs"} == set(optim.OPTIMIZERS)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"clip_norm": 1.0}, "clip_norm=1.0 .* set it to None"),
        ({"weight_decay": 0.1}, "weight_decay=0.1 .* set it to 0"),
        ({"layer_decay": 0.5}, "layer_decay=0.5 .* set it to 1"),
        ({"learning_rate_rules": ((r".*bias", 0.0), (r".*", 1.0))}, "learning_rate_rules"),
    ],
)
def test_what_would_bend_the_direction_that_lbfgs_searches_along_is_an_error(options, says):
    """That it reaches the minimum is tested in test_step.py, where there is a loss."""
    with pytest.raises(UserError, match=says):
        make(name="lbfgs", **options)


# --- rules ----------------------------------------------------------------------------------------


def test_what_a_rule_freezes_stays_bitwise_and_keeps_no_optimizer_state():
    rules = ((r"encoder/(word|layer_0)/.*", 0.0), (r".*", 1.0))
    optimizer = make(learning_rate_rules=rules, weight_decay=0.1, clip_norm=1.0)
    last = run(optimizer)[-1]
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), last, PARAMS)
    assert not any(jax.tree.leaves([moved["encoder"]["word"], moved["encoder"]["layer_0"]]))
    assert all(jax.tree.leaves([moved["encoder"]["layer_1"], moved["head"]]))

    trained = [PARAMS["encoder"]["layer_1"], PARAMS["head"]]
    num_trained = sum(x.size for x in jax.tree.leaves(trained))
    arrays = [x for x in jax.tree.leaves(optimizer.tx.init(PARAMS)) if x.ndim]
    assert sum(x.size for x in arrays) == 2 * num_trained  # Adam's two moments


def test_frozen_gradients_do_not_count_in_the_norm():
    frozen = make(
        name="sgd",
        clip_norm=1.0,
        learning_rate_rules=((r"encoder/.*", 0.0), (r".*", 1.0)),
    )
    alone = make(PARAMS["head"], depths=DEPTHS["head"], name="sgd", clip_norm=1.0)
    grads = tree(seed=5)
    updates, _ = frozen.tx.update(grads, frozen.tx.init(PARAMS), PARAMS)
    expected, _ = alone.tx.update(grads["head"], alone.tx.init(PARAMS["head"]), PARAMS["head"])
    jax.tree.map(np.testing.assert_array_equal, updates["head"], expected)


def updates_of_ones(optimizer: optim.Optimizer, params=PARAMS):
    """What plain gradient descent makes of a gradient of ones: each parameter's multiplier."""
    ones = jax.tree.map(jnp.ones_like, params)
    return optimizer.tx.update(ones, optimizer.tx.init(params), params)[0]


def test_a_multiplier_scales_the_whole_update_weight_decay_included():
    rules = ((r"head/.*", 10.0), (r".*", 1.0))
    plain = updates_of_ones(make(name="sgd", weight_decay=0.1))
    scaled = updates_of_ones(make(name="sgd", weight_decay=0.1, learning_rate_rules=rules))
    jax.tree.map(np.testing.assert_array_equal, scaled["encoder"], plain["encoder"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 10 * b), scaled["head"], plain["head"])


def test_layer_decay_multiplies_once_for_each_layer_below_the_head():
    found = updates_of_ones(make(name="sgd", layer_decay=0.5))
    encoder, head = found["encoder"], found["head"]
    for part, expected in [
        (encoder["word"], 0.125),
        (encoder["layer_0"], 0.25),
        (encoder["layer_1"], 0.5),
        (head, 1.0),
    ]:
        for leaf in jax.tree.leaves(part):
            np.testing.assert_array_equal(leaf, np.full(leaf.shape, expected))


def scanned(params):
    """The same parameters with both layers in one, as `scan_layers` has them."""
    encoder = dict(params["encoder"])
    layers = [encoder.pop(f"layer_{i}") for i in range(2)]
    encoder["layers"] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    return params | {"encoder": encoder}


def test_scanned_layers_get_the_same_updates():
    params = scanned(PARAMS)
    depths = {
        "encoder": bert.layer_depths(params["encoder"], num_layers=2),
        "head": DEPTHS["head"],
    }
    options = {"layer_decay": 0.5, "weight_decay": 0.1, "clip_norm": 1.0}
    optimizer = make(params, depths=depths, **options)
    grads = tree(seed=5)
    found, _ = optimizer.tx.update(scanned(grads), optimizer.tx.init(params), params)
    plain = make(**options)
    expected, _ = plain.tx.update(grads, plain.tx.init(PARAMS), PARAMS)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), found, scanned(expected))


def test_a_parameter_without_a_rule_is_an_error_that_names_it():
    expected = "no weight decay rule matches parameter 'encoder/word/embedding'"
    with pytest.raises(UserError, match=expected):
        make(weight_decay_rules=((r".*(bias|scale)", 0.0), (r".*kernel", 1.0)))


def test_a_rule_that_matches_nothing_is_an_error_that_shows_names():
    with pytest.raises(UserError, match=r"learning rate rule 'layer_0/\.\*' matches no parameter"):
        make(learning_rate_rules=((r"layer_0/.*", 0.0), (r".*", 1.0)))


def test_a_broken_regex_is_an_error():
    with pytest.raises(UserError, match="is not a regular expression"):
        make(learning_rate_rules=((r"(", 0.0), (r".*", 1.0)))
