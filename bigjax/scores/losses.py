"""Owns per-element losses. Sums over a batch are `metrics.Mean`, divided once, at the end."""

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, *, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Softmax cross-entropy of each element, float32 (...).

    Args:
      logits: (..., C), any float dtype; computed in float32.
      labels: (...) int class ids.
      smoothing: the share of the target, 0 to 1, spread evenly over all classes (Szegedy et al.
        2016).
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    picked = jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]
    if smoothing == 0.0:
        return -picked
    return -(1.0 - smoothing) * picked - smoothing * log_probs.mean(axis=-1)
