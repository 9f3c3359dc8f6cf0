"""Private training: gradients against a loop over examples, sampling against chance, and what it
promises against dp-accounting itself."""

import functools
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from bigjax import methods
from bigjax.config import values as configs
from bigjax.data.dataset import by_index
from bigjax.data.pipeline import global_batch
from bigjax.data.shuffling import shuffled
from bigjax.engine import settings, sharding, step
from bigjax.errors import UserError
from bigjax.methods import gradient, privacy
from bigjax.methods.privacy import Privacy, Sampling
from bigjax.tasks import TASKS
from bigjax.tasks.task import Task
from bigjax.tasks.token_tagging import task as token_tagging

pytest.importorskip("jax_privacy", reason="needs pip install 'bigjax[privacy]'")
# Of jax-privacy 2.0 with optax 0.2.8.
pytestmark = pytest.mark.filterwarnings("ignore:optax.global_norm:DeprecationWarning")
TOLERANCE = 2e-6
TINY = {
    "text.vocab_size": "200",
    "text.row_length": "16",
    "text.packed": "False",
    "model.num_layers": "1",
    "model.hidden_size": "8",
    "model.num_heads": "2",
    "model.mlp_size": "16",
    "data.num_train": "60",
    "data.num_dev": "4",
    "data.num_test": "4",
    "batch.examples": "none",
    "batch.rows": "12",
}


def load(file, overrides):
    return configs.load(f"{ROOT}/configs/{file}", overrides=overrides, schema=settings.schema)


@functools.cache
def tagger() -> Task:
    """Whose training set has several windows of many a sentence, each in a row of its own."""
    return token_tagging.make(load("bert_ner.py:scratch", TINY))


# --- sampling -------------------------------------------------------------------------------------


def test_each_example_is_drawn_with_one_probability_and_has_one_of_its_rows():
    train = tagger().data.train
    assert train.num_rows > 1.3 * train.num_examples
    found = privacy.sampled(train, seed=3)
    sampling = Sampling.of(found)
    assert sampling.num_examples == 60
    assert sampling.expected == pytest.approx(12, rel=0.01)
    assert found.batch_rows > 30
    counts, pairs, num_steps = np.zeros(60), 0, 400
    for number in range(num_steps):
        rows = np.arange(found.batch_rows)
        ids = found.examples(number * found.batch_rows + rows)
        assert {len(one) for one in ids} <= {0, 1}
        ids = np.concatenate(ids)
        assert len(np.unique(ids)) == len(ids), "an example is in a batch once"
        counts[ids] += 1
        pairs += {0, 1} <= set(ids.tolist())
    rate, std = sampling.rate, np.sqrt(sampling.rate * (1 - sampling.rate) / num_steps)
    assert np.abs(counts / num_steps - rate).max() < 4 * std
    assert pairs / num_steps == pytest.approx(rate**2, abs=4 * rate / np.sqrt(num_steps))


def test_all_windows_of_a_long_sentence_have_their_turn_and_rows_are_what_examples_say():
    train = tagger().data.train
    found, seen = privacy.sampled(train, seed=0), {}
    for number in range(60):
        numbers = number * found.batch_rows + np.arange(found.batch_rows)
        batch, ids = found.rows(numbers), found.examples(numbers)
        exists = np.array([len(one) for one in ids], bool)
        assert (
            not batch["segments"][~exists].any() and (batch["segments"][exists].max(1) == 1).all()
        )
        for row, one in zip(batch["tokens"][exists], np.concatenate(ids)):
            seen.setdefault(int(one), set()).add(row.tobytes())
    several = {
        i
        for i, n in enumerate(
            np.bincount(np.concatenate(train.examples(np.arange(train.num_rows))))
        )
        if n > 1
    }
    assert sum(len(seen[i]) > 1 for i in several) > 0.9 * len(several)


def test_a_batch_is_a_function_of_seed_and_step_however_it_is_asked_for():
    train = tagger().data.train
    first, again = (privacy.sampled(train, seed=1) for _ in range(2))
    numbers = 5 * first.batch_rows + np.arange(first.batch_rows)
    whole = first.rows(numbers)
    order = np.random.default_rng(0).permutation(len(numbers))
    for name, value in again.rows(numbers[order]).items():
        np.testing.assert_array_equal(value, whole[name][order])
    other = privacy.sampled(train, seed=2)
    assert (
        other.rows(5 * other.batch_rows + np.arange(30))["tokens"] != whole["tokens"][:30]
    ).any()


def test_what_is_random_in_a_row_is_drawn_anew_in_every_batch():
    """A row number never comes twice, so neither does what is drawn from it."""
    order = shuffled(8, seed=0)
    train = by_index(
        lambda numbers: {"id": order(numbers), "number": numbers},
        order=order, num_examples=8, batch_rows=4, fingerprint="",
    )  # fmt: skip
    found, numbers = privacy.sampled(train, seed=0), []
    for number in range(20):
        rows = number * found.batch_rows + np.arange(found.batch_rows)
        batch, ids = found.rows(rows), found.examples(rows)
        exists = np.array([len(one) for one in ids], bool)
        np.testing.assert_array_equal(batch["id"][exists], np.concatenate(ids))
        numbers += batch["number"][exists].tolist()
    assert len(set(numbers)) == len(numbers) > 60


# --- gradients ------------------------------------------------------------------------------------


def gradients_of(*, clip_norm: float, multiplier: float = 0.01, parts=1, num_rows=12, mesh=None):
    """Of the first 12 rows of training, with dropout; and the state and batch they are of."""
    task = tagger()
    chosen = Privacy(noise_multiplier=multiplier, clip_norm=clip_norm)
    method = privacy.gradients(gradient.PLAIN, chosen, task, num_updates=1)
    variables = jax.jit(lambda: nn.meta.unbox(task.model.init(jax.random.key(0))))()
    state = step.TrainState(jnp.int32(0), variables["params"], {}, None, None)
    batch = global_batch(task.data.train, step=0, rows=np.arange(num_rows))

    def mean(state, batch):
        return step.mean_gradients(
            task.model, state, batch, key=jax.random.key(7), num_microbatches=parts, method=method
        )

    on_mesh = mean
    placed = batch
    if mesh is not None:
        on_mesh = sharding.on_mesh(mean, mesh)
        placed = jax.device_put(batch, sharding.batch_sharding(mesh))
    grads, sums, _ = jax.jit(on_mesh)(state, placed)
    return grads, sums, state, batch


def test_gradients_are_those_of_a_loop_over_examples_each_clipped_then_summed_and_noised():
    clip_norm, multiplier = 3.5, 0.01
    grads, sums, state, batch = gradients_of(clip_norm=clip_norm)
    task = tagger()

    @jax.jit
    def one(params, row):
        def loss(params):
            outputs, _ = task.model.apply({"params": params}, row, jax.random.key(7))
            found = task.model.train_sums(outputs, row)["loss"]
            return found.total / found.count, found

        return jax.grad(loss, has_aux=True)(params)

    total, norms, losses = jax.tree.map(np.zeros_like, state.params), [], 0.0
    for i in range(12):
        grad, loss = one(state.params, {name: x[i : i + 1] for name, x in batch.items()})
        norms.append(np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(grad))))
        scale = min(1.0, clip_norm / norms[-1])
        total = jax.tree.map(lambda t, g, scale=scale: t + scale * g, total, grad)
        losses += loss.total
    assert min(norms) < clip_norm < max(norms), "else the test proves too little"
    key = jax.random.fold_in(jax.random.key(7), privacy._NOISE)
    leaves, tree = jax.tree.flatten(total)
    sampling = Sampling.of(task.data.train)
    noisy = [
        leaf + multiplier * clip_norm * jax.random.normal(jax.random.fold_in(key, i), leaf.shape)
        for i, leaf in enumerate(leaves)
    ]
    expected = jax.tree.unflatten(tree, [leaf / sampling.expected for leaf in noisy])
    same = lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE)  # noqa: E731
    jax.tree.map(same, grads, expected)
    np.testing.assert_allclose(sums["loss"].total, losses, rtol=1e-5)


def test_accumulation_empty_rows_and_eight_devices_change_nothing_beyond_rounding():
    expected, sums, *_ = gradients_of(clip_norm=3.5)
    mesh = sharding.make_mesh("data=2,fsdp=2,tensor=2")
    for changed in ({"parts": 4}, {"num_rows": 16}, {"mesh": mesh}):
        grads, found, *_ = gradients_of(clip_norm=3.5, **changed)
        same = lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE)  # noqa: E731
        jax.tree.map(same, grads, expected)
        np.testing.assert_allclose(found["loss"].total, sums["loss"].total, rtol=1e-5)


def test_noise_has_the_size_it_should_and_is_another_for_every_leaf_and_update():
    chosen = Privacy(noise_multiplier=2.0, clip_norm=0.5)
    method = privacy.gradients(gradient.PLAIN, chosen, tagger(), num_updates=1)
    zeros = [jnp.zeros((300, 300)), jnp.zeros((300, 300))]
    a, b = method.mean(zeros, jax.random.key(0))
    (c, _), (d, _) = method.mean(zeros, jax.random.key(1)), method.mean(zeros, jax.random.key(0))
    std = 2.0 * 0.5 / Sampling.of(tagger().data.train).expected
    assert float(jnp.std(a)) == pytest.approx(std, rel=0.01)
    assert abs(float(a.mean())) < 4 * std / 300
    np.testing.assert_array_equal(a, d)
    for other in (b, c):
        assert abs(float(jnp.corrcoef(a.ravel(), other.ravel())[0, 1])) < 0.02


# --- what it promises -----------------------------------------------------------------------------


def directly(multiplier, *, rate, num_updates, delta, kind):
    accounting = pytest.importorskip("dp_accounting", reason="needs pip install 'bigjax[privacy]'")
    if kind == "rdp":
        accountant = accounting.rdp.RdpAccountant()
    else:
        accountant = accounting.pld.PLDAccountant()  # at its own, finer discretization
    update = accounting.PoissonSampledDpEvent(rate, accounting.GaussianDpEvent(multiplier))
    accountant.compose(accounting.SelfComposedDpEvent(update, num_updates))
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize(("multiplier", "rate", "num_updates"), [(2.0, 0.05, 300), (0.9, 0.01, 50)])
def test_epsilon_is_what_dp_accounting_says_called_directly(multiplier, rate, num_updates):
    import dp_accounting.pld
    import dp_accounting.rdp  # noqa: F401

    given = {"num_updates": num_updates, "delta": 1e-5}
    found = privacy.epsilon(multiplier, sampling=Sampling(1000, rate), **given)
    finer = directly(multiplier, rate=rate, kind="pld", **given)
    assert finer - 1e-6 <= found <= finer + 1e-3
    assert found <= directly(multiplier, rate=rate, kind="rdp", **given)


def test_the_noise_that_is_solved_for_is_the_smallest_that_keeps_to_epsilon():
    given = {"sampling": Sampling(1000, 0.05), "num_updates": 300, "delta": 1e-5}
    multiplier = privacy.solve(1.5, **given)
    assert 1.4 < privacy.epsilon(multiplier, **given) <= 1.5
    assert privacy.epsilon(multiplier - 0.001, **given) > 1.5


def test_an_epsilon_that_no_noise_gives_is_an_error():
    with pytest.raises(UserError, match="takes noise of more than 1000 times"):
        privacy.solve(1e-3, sampling=Sampling(10, 1.0), num_updates=10**6, delta=1e-5)


# --- what does not go with it ---------------------------------------------------------------------


REFUSED = {
    "several sentences a row": (
        "bert_ner.py",
        {"init.checkpoint": f"{ROOT}/tests/golden/tiny_bert", "text.row_length": "32"},
        "text.packed=False",
    ),
    "a vocabulary of the training text": (
        "bert_ner.py:scratch", {"text.packed": "False"}, "vocabulary is made of the training text"
    ),
    "weights of the training data": (
        "cnn_digits.py", {"loss.class_weights": "balanced"}, "are shares of the training data"
    ),
    "mixed images": ("cnn_digits.py", {"augment.mixup_alpha": "0.2"}, "mixes an image with others"),
    "batch statistics": ("cnn_digits.py:residual", {}, "without batch normalisation"),
    "tables": ("table.py:classify", {}, "is read off the training rows"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_keeps_examples_from_being_counted_one_by_one_is_refused(what):
    file, overrides, reason = REFUSED[what]
    config = load(file, overrides | {"privacy.epsilon": "8"})
    task = TASKS[config.values[""]["task"]].make(config)
    with pytest.raises(UserError, match=f"^privacy c.*{reason}"):
        methods.as_trained(task, config)


def test_epsilon_and_noise_together_are_refused():
    both = Privacy(epsilon=1.0, noise_multiplier=1.0)
    with pytest.raises(UserError, match="give one of them"):
        privacy.as_trained(tagger(), both, seed=0)


def test_a_missing_package_is_an_error_that_names_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(privacy, "importlib", types.SimpleNamespace(import_module=missing))
    with pytest.raises(UserError, match=r"needs dp_accounting.rdp.*bigjax\[privacy\]"):
        privacy.epsilon(1.0, delta=1e-5, sampling=Sampling(10, 0.1), num_updates=1)


def test_off_changes_neither_data_nor_gradient():
    task, off = tagger(), Privacy()
    assert privacy.as_trained(task, off, seed=0) is task
    assert privacy.gradients(gradient.PLAIN, off, task, num_updates=9) is gradient.PLAIN
