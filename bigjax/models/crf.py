"""Owns the linear-chain CRF over the words of packed rows: its parameters, and the exact negative
log-likelihood of tags (Lafferty et al. 2001), differentiable and to be jitted.

Which tag may follow which is an argument, a mask. The best tags and their probabilities belong to
`tasks/token_tagging/decoding.py`, on the host.

Suffixes: B batch rows, L row length, T tags; S = T + 2, the scores of one tag after each: rows
0 to T - 1 after tag 0 to T - 1, row T at a sentence's beginning; row T + 1 are those of each tag at
its end.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.models import ops

# Finite, so that no gradient is nan; exp of it is 0, so that it is as good as -inf.
FORBIDDEN = -1e4


class Head(nn.Module):
    """A linear layer, whose parameters are named as if it were alone, and the scores of neighbours:
    zeros at first, which is independent softmaxes but for what is forbidden."""

    num_tags: int

    def setup(self) -> None:
        zeros, size = nn.initializers.zeros_init(), (self.num_tags,)
        self.linear = ops.Dense(self.num_tags)
        nn.share_scope(self, self.linear)
        self.transitions = self.param("transitions", zeros, size * 2)
        self.start, self.end = (self.param(name, zeros, size) for name in ("start", "end"))

    def __call__(self, x_BLD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """float32 (B, L, T), and float32 (S, T)."""
        edges_2T = jnp.stack([ops.at_use(self.start), ops.at_use(self.end)])
        return self.linear(x_BLD), jnp.concatenate([ops.at_use(self.transitions), edges_2T])


def negative_log_likelihood(
    logits_BLT: jax.Array,
    *,
    scores_BST: jax.Array,
    allowed_ST: np.ndarray,
    labels_BL: jax.Array,
    mask_BL: jax.Array,
    segments_BL: jax.Array,
    before_BL: jax.Array,
    after_BL: jax.Array,
) -> jax.Array:
    """float32 (B, L), whose sum is that of a batch; what one place holds means nothing alone.

    The words of a segment are its places that `mask_BL` counts. A segment that is a whole sentence
    has the likelihood of its tags. One that is a window of a longer sentence has that of its own
    tags given the gold tags of the words right before and after them, which other windows hold: an
    exact conditional of the sentence's CRF. The sum over a sentence's windows is a block composite
    likelihood (Lindsay 1988; with blocks of one word it would be Besag's pseudolikelihood 1975).

    Args:
      logits_BLT: the scores of the tags of each word.
      scores_BST: `Crf`'s, the same for each row. allowed_ST: bool.
      labels_BL: int gold tags. mask_BL: bool.
      segments_BL: int, 1 and up along the row.
      before_BL, after_BL: int, 1 + the gold tag of the word before and after in the sentence; 0
        where it begins or ends.
    """
    row = functools.partial(_of_row, allowed_ST=allowed_ST)
    return jax.vmap(row)(
        logits_BLT, scores_BST, labels_BL, mask_BL, segments_BL, before_BL, after_BL
    )


def _of_row(logits_LT, scores_ST, labels_L, mask_L, segments_L, before_L, after_L, *, allowed_ST):  # noqa: ANN001
    num_tags = logits_LT.shape[-1]
    # A constant of a word is none of its likelihood, and small numbers have small rounding.
    emissions_LT = jax.nn.log_softmax(logits_LT.astype(jnp.float32), axis=-1)
    scores_ST = jnp.where(allowed_ST, scores_ST, FORBIDDEN)
    between_TT, start_T, end_T = scores_ST[:num_tags], scores_ST[num_tags], scores_ST[-1]
    # By 1 + the neighbour's tag: of each tag after it, and of each tag before it.
    into_LT = jnp.concatenate([start_T[None], between_TT])[before_L]
    out_of_LT = jnp.concatenate([end_T[None], between_TT.T])[after_L]
    is_first_L, is_last_L = _edges(segments_L, mask_L)

    def step(forward_T, at):  # noqa: ANN001, ANN202
        emissions_T, into_T, is_first, is_word = at
        onward_T = jax.nn.logsumexp(forward_T[:, None] + between_TT, axis=0)
        reached_T = jnp.where(is_first, into_T, onward_T) + emissions_T
        forward_T = jnp.where(is_word, reached_T, forward_T)
        return forward_T, forward_T

    steps = (emissions_LT, into_LT, is_first_L, mask_L)
    _, forward_LT = jax.lax.scan(step, jnp.zeros_like(start_T), steps)
    log_sums_L = jnp.where(is_last_L, jax.nn.logsumexp(forward_LT + out_of_LT, axis=-1), 0.0)
    pick = lambda values_LT: jnp.take_along_axis(values_LT, labels_L[:, None], axis=-1)[:, 0]  # noqa: E731
    gold_L = pick(emissions_LT + into_LT) + jnp.where(is_last_L, pick(out_of_LT), 0.0)
    return jnp.where(mask_L, log_sums_L - gold_L, 0.0)


def _edges(segments_L: jax.Array, mask_L: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether each place is the first, and the last, word of its segment; segments ascend."""
    beyond = jnp.iinfo(segments_L.dtype).max
    seen_L = jax.lax.cummax(jnp.where(mask_L, segments_L, 0))
    ahead_L = jax.lax.cummin(jnp.where(mask_L, segments_L, beyond), reverse=True)
    is_first_L = mask_L & (segments_L > jnp.roll(seen_L, 1).at[0].set(0))
    is_last_L = mask_L & (segments_L < jnp.roll(ahead_L, -1).at[-1].set(beyond))
    return is_first_L, is_last_L
