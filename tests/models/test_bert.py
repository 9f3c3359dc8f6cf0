"""The encoder against itself: a sentence alone is the reference for the same sentence in any
company, and plain layers in float32 are the reference for every other way to compute them.

That it is BERT at all is proven in `test_huggingface.py`, against PyTorch.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigjax.engine.cost import count_flops
from bigjax.models import bert, huggingface, ops
from bigjax.trees import leaf_names, map_named

TOLERANCE = 1e-5
BFLOAT16_TOLERANCE = 0.05  # of hidden states, which have mean 0 and deviation 1

SIZES = bert.Sizes(
    vocab_size=50, num_layers=2, hidden_size=16, num_heads=2, mlp_size=32, max_positions=40
)
LENGTHS = (5, 9, 3, 12, 7, 1)
ROWS = ((0, 3), (1, 2, 5), (4,))  # which sentences share a row
ROW_LENGTH = 18


def sentences(*, vocab_size: int = 50) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, vocab_size, n).astype(np.int32) for n in LENGTHS]


def pack(found: list[np.ndarray], *, rows=ROWS, row_length: int = ROW_LENGTH) -> dict:
    """The arrays of packed rows, written one sentence at a time."""
    packed = {
        name: np.zeros((len(rows), row_length), np.int32)
        for name in ("tokens", "segments", "positions")
    }
    for row, members in enumerate(rows):
        at = 0
        for number, sentence in enumerate(members, start=1):
            span = slice(at, at + len(found[sentence]))
            packed["tokens"][row, span] = found[sentence]
            packed["segments"][row, span] = number
            packed["positions"][row, span] = np.arange(len(found[sentence]))
            at = span.stop
    return {name: jnp.asarray(x) for name, x in packed.items()}


def unpack(hidden: jax.Array, *, rows=ROWS, lengths=LENGTHS) -> list[np.ndarray]:
    """For each sentence its part of (B, L, D)."""
    found = {}
    for row, members in enumerate(rows):
        at = 0
        for sentence in members:
            found[sentence] = np.asarray(hidden[row, at : at + lengths[sentence]])
            at += lengths[sentence]
    return [found[i] for i in range(len(found))]


def encode(params, batch, *, sizes=SIZES, dropout=ops.NO_DROPOUT, **options) -> jax.Array:
    encoder = bert.Encoder(sizes, bert.Compute(**options))
    return encoder.apply(
        {"params": params},
        batch["tokens"],
        segments_BL=batch["segments"],
        positions_BL=batch["positions"],
        dropout=dropout,
    )


def random_params(sizes=SIZES, **options):
    """Parameters of a few tenths each, scales around 1: no bias is 0, so one that is left out
    would show."""
    encoder, batch = bert.Encoder(sizes, bert.Compute(**options)), pack(sentences())
    shapes = jax.eval_shape(
        lambda key: encoder.init(
            key,
            batch["tokens"],
            segments_BL=batch["segments"],
            positions_BL=batch["positions"],
        ),
        jax.random.key(0),
    )["params"]
    rng = np.random.default_rng(1)
    random = lambda x: 0.3 * rng.standard_normal(x.shape).astype(x.dtype)  # noqa: E731
    return map_named(lambda name, x: random(x) + name.endswith("scale"), nn.meta.unbox(shapes))


@pytest.fixture(scope="module")
def params():
    return random_params()


# --- packing --------------------------------------------------------------------------------------


def assert_packing_changes_nothing(params, *, sizes: bert.Sizes) -> None:
    alone = tuple((i,) for i in range(len(LENGTHS)))
    found = sentences(vocab_size=sizes.vocab_size)
    run = functools.partial(jax.jit(functools.partial(encode, sizes=sizes)), params)
    together = unpack(run(pack(found)))
    for i, hidden in enumerate(unpack(run(pack(found, rows=alone)), rows=alone)):
        np.testing.assert_allclose(together[i], hidden, atol=TOLERANCE)


def test_packed_sentences_come_out_as_each_would_alone(params):
    assert_packing_changes_nothing(params, sizes=SIZES)


def test_packed_sentences_come_out_as_each_would_alone_with_real_weights(minilm):
    sizes = huggingface.read_sizes(minilm)
    assert_packing_changes_nothing(huggingface.read_params(minilm, sizes=sizes), sizes=sizes)


def test_changing_one_sentence_changes_no_other_at_all(params):
    run = functools.partial(jax.jit(encode), params)
    before = unpack(run(pack(sentences())))
    for changed in range(len(LENGTHS)):
        other = sentences()
        other[changed] = (other[changed] + 1) % 50
        after = unpack(run(pack(other)))
        for i, (a, b) in enumerate(zip(before, after)):
            assert np.array_equal(a, b) == (i != changed)


def test_a_sentences_gradient_reaches_its_own_tokens_alone(params):
    """The embeddings of tokens that occur in one sentence only, for a loss of that sentence."""
    found = [np.arange(n, dtype=np.int32) + sum(LENGTHS[:i]) for i, n in enumerate(LENGTHS)]
    batch = pack(found)
    weights = jnp.asarray(np.random.default_rng(2).standard_normal(16), jnp.float32)

    def loss(params, segment):
        hidden = encode(params, batch)[0] @ weights
        return jnp.where(batch["segments"][0] == segment, hidden, 0).sum()

    gradient = jax.jit(jax.grad(loss))
    for segment, sentence in enumerate(ROWS[0], start=1):
        table = gradient(params, segment)["word"]["embedding"]
        touched = np.flatnonzero(np.abs(table).sum(-1))
        np.testing.assert_array_equal(touched, found[sentence])


def test_what_lies_in_the_padding_changes_nothing(params):
    batch = pack(sentences())
    run = functools.partial(jax.jit(encode), params)
    padding = np.asarray(batch["segments"]) == 0
    dirty = batch | {
        "tokens": jnp.where(padding, 7, batch["tokens"]),
        "positions": jnp.where(padding, 3, batch["positions"]),
    }
    for a, b in zip(unpack(run(batch)), unpack(run(dirty))):
        np.testing.assert_array_equal(a, b)


def test_a_row_of_padding_is_finite_and_so_is_its_gradient(params):
    empty = {name: jnp.zeros_like(x) for name, x in pack(sentences()).items()}
    loss = lambda params: jnp.square(encode(params, empty)).sum()  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


# --- ways to compute the same ---------------------------------------------------------------------


def outputs_and_gradients(params, **options):
    """Hidden states with dropout on, and the gradient of a sum of them with fixed weights."""
    batch = pack(sentences())
    weights = np.random.default_rng(2).standard_normal((3, ROW_LENGTH, 16)).astype(np.float32)
    dropout = ops.Dropout(jnp.uint32(5), jnp.arange(3, dtype=jnp.int32))

    def loss(params):
        hidden = encode(params, batch, dropout=dropout, **options)
        return (hidden * weights).sum(), hidden

    gradient, hidden = jax.jit(jax.grad(loss, has_aux=True))(params)
    return hidden, gradient


@pytest.fixture(scope="module")
def plain(params):
    return outputs_and_gradients(params)


WAYS = [("dots", False), ("full", False), ("none", True), ("dots", True), ("full", True)]


@pytest.mark.parametrize(("remat", "scan_layers"), WAYS)
def test_scan_and_remat_change_neither_outputs_nor_gradients(params, plain, remat, scan_layers):
    given = huggingface.stack_layers(params, num_layers=2) if scan_layers else params
    hidden, gradient = outputs_and_gradients(given, remat=remat, scan_layers=scan_layers)
    expected = plain[1]
    if scan_layers:
        expected = huggingface.stack_layers(expected, num_layers=2)
    np.testing.assert_allclose(hidden, plain[0], atol=TOLERANCE)
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE * largest), gradient, expected
    )


def test_full_computes_all_products_again_and_dots_those_of_attention_alone(params):
    """A layer has six kernels, and attention multiplies twice."""

    def flops(remat: str) -> int:
        loss = lambda params: encode(params, pack(sentences()), remat=remat).sum()  # noqa: E731
        return count_flops(jax.make_jaxpr(jax.grad(loss))(params))

    tokens, hidden, mlp = 3 * ROW_LENGTH, 16, 32
    attention = 2 * 2 * tokens * ROW_LENGTH * hidden
    kernels = 2 * tokens * (4 * hidden * hidden + 2 * hidden * mlp)
    assert flops("dots") - flops("none") == 2 * attention
    assert flops("full") - flops("none") == 2 * (attention + kernels)


def test_bfloat16_is_near_float32(params, plain):
    hidden, gradient = outputs_and_gradients(params, dtype="bfloat16")
    np.testing.assert_allclose(np.asarray(hidden, np.float32), plain[0], atol=BFLOAT16_TOLERANCE)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(plain[1])):
        assert a.dtype == jnp.float32
        off, size = np.linalg.norm(a - b), np.linalg.norm(b)
        # A key's bias has no gradient but rounding: it moves all logits of a query alike.
        assert off <= BFLOAT16_TOLERANCE * size or size < 1e-4


def test_parameters_are_float32_whatever_is_computed_in():
    for x in jax.tree.leaves(random_params(dtype="bfloat16")):
        assert x.dtype == np.float32


# --- names and depths -----------------------------------------------------------------------------


def test_dropout_differs_between_the_layers(params):
    """Two layers of equal weights drop different elements."""
    dropout = ops.Dropout(jnp.uint32(5), jnp.arange(3, dtype=jnp.int32))
    layer = bert.Layer(SIZES, bert.Compute(dropout=0.5))
    x = jnp.ones((3, ROW_LENGTH, 16))
    mask = jnp.ones((3, ROW_LENGTH, ROW_LENGTH), bool)
    apply = jax.jit(lambda i: layer.apply({"params": params["layer_0"]}, x, i, mask, dropout)[0])
    assert not np.allclose(apply(jnp.uint32(1)), apply(jnp.uint32(2)))


def test_depths_count_layers_from_the_embeddings(params):
    depths = bert.layer_depths(params, num_layers=2)
    for name, depth in zip(leaf_names(params), jax.tree.leaves(depths)):
        expected = {"layer_0": 1, "layer_1": 2}.get(name.split("/")[0], 0)
        assert depth == expected, name


def test_depths_of_scanned_layers_broadcast_over_their_leading_dimension(params):
    scanned = huggingface.stack_layers(params, num_layers=2)
    depths = bert.layer_depths(scanned, num_layers=2)
    for leaf, depth in zip(jax.tree.leaves(scanned["layers"]), jax.tree.leaves(depths["layers"])):
        assert depth.shape == (2,) + (1,) * (leaf.ndim - 1)
        np.testing.assert_array_equal(depth.ravel(), [1, 2])
    assert depths["word"]["embedding"] == 0


def test_scanned_and_plain_parameters_have_the_same_names_and_shapes(params):
    scanned = random_params(scan_layers=True)
    expected = huggingface.stack_layers(params, num_layers=2)
    shapes = lambda tree: jax.tree.map(np.shape, tree)  # noqa: E731
    assert shapes(scanned) == shapes(expected)


def test_without_token_types_there_is_no_such_parameter(params):
    bare = random_params(dataclasses.replace(SIZES, num_token_types=0))
    assert set(params) - set(bare) == {"token_type"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_gradients_attention_is_what_it_is_in_training(params, dtype):
    """The sum of the weights divides what they weigh, on a CPU; in training, with no dropout, it
    divides the weights."""
    batch, rates = pack(sentences()), {"dropout": 0.0, "attention_dropout": 0.0}
    encoder = bert.Encoder(SIZES, bert.Compute(dtype=dtype, **rates))
    training = ops.Dropout(jnp.uint32(1), jnp.arange(len(ROWS)))
    expected, found = (
        bert.encode(encoder.bind({"params": params}), batch, dropout)
        for dropout in (training, ops.NO_DROPOUT)
    )
    tolerance = TOLERANCE if dtype == "float32" else BFLOAT16_TOLERANCE
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.66, 0.68, 1.0])
def test_states_that_are_read_are_those_of_all(params, share):
    rng = np.random.default_rng(0)
    rows = 36  # enough tokens for the rest to be worth leaving out
    batch = {name: jnp.tile(x, (rows // len(ROWS), 1)) for name, x in pack(sentences()).items()}
    read = rng.permutation(rows * ROW_LENGTH) < round(share * rows * ROW_LENGTH)
    read = read.reshape(rows, ROW_LENGTH)
    encoder = bert.Encoder(SIZES, bert.Compute())

    @jax.jit
    def states(batch, read_BL=None):
        return bert.encode(encoder.bind({"params": params}), batch, ops.NO_DROPOUT, read_BL=read_BL)

    whole, found = states(batch), states(batch, jnp.asarray(read))
    np.testing.assert_allclose(found[read], whole[read], atol=TOLERANCE, rtol=0)
    left_out = np.abs(np.asarray(found)[~read]).sum(axis=-1) == 0
    assert left_out.all() if share <= 2 / 3 else not left_out.any()
