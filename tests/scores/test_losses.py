"""Cross-entropy against the textbook formula in float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigjax.scores.losses import cross_entropy

TOLERANCE = 1e-5


def examples(*, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (4, 6, 5) and labels (4, 6)."""
    rng = np.random.default_rng(0)
    logits = scale * rng.standard_normal((4, 6, 5))
    return logits.astype(np.float32), rng.integers(0, 5, (4, 6))


def targets(labels: np.ndarray, *, smoothing: float) -> np.ndarray:
    """One-hot rows of 5 classes of which `smoothing` is spread evenly over all."""
    return (1 - smoothing) * np.eye(5)[labels] + smoothing / 5


def reference(logits: np.ndarray, *, labels: np.ndarray, smoothing: float) -> np.ndarray:
    probs = np.exp(logits.astype(np.float64))
    probs /= probs.sum(axis=-1, keepdims=True)
    return -(targets(labels, smoothing=smoothing) * np.log(probs)).sum(axis=-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
def test_cross_entropy_equals_the_formula(smoothing):
    logits, labels = examples()
    found = cross_entropy(jnp.asarray(logits), labels=jnp.asarray(labels), smoothing=smoothing)
    expected = reference(logits, labels=labels, smoothing=smoothing)
    assert found.shape == labels.shape and found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_the_probabilities_minus_the_targets(smoothing):
    logits, labels = examples()
    gradient = jax.grad(
        lambda x: cross_entropy(x, labels=jnp.asarray(labels), smoothing=smoothing).sum()
    )(jnp.asarray(logits))
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = probs - targets(labels, smoothing=smoothing)
    np.testing.assert_allclose(gradient, expected, atol=TOLERANCE)


def test_bfloat16_logits_are_summed_in_float32():
    logits, labels = examples()
    rounded = jnp.asarray(logits, jnp.bfloat16)
    found = cross_entropy(rounded, labels=jnp.asarray(labels), smoothing=0.1)
    expected = reference(np.asarray(rounded, np.float32), labels=labels, smoothing=0.1)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


def test_huge_logits_overflow_neither_the_loss_nor_its_gradient():
    logits, labels = jnp.asarray([[1e4, -1e4, 0.0]]), jnp.asarray([1])
    loss, gradient = jax.value_and_grad(lambda x: cross_entropy(x, labels=labels).sum())(logits)
    assert float(loss) == 2e4
    np.testing.assert_array_equal(gradient, [[1.0, -1.0, 0.0]])
