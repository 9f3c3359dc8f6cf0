"""Owns adversarial training: the loss also at word embeddings that are moved to where it is larger.

Norms are of a sentence (of a long one: of each of its windows) wherever it lies, so what its
embeddings are moved by does not depend on what shares its row, its batch or its device.

Suffixes: B batch rows, L row length, E features of a word's embedding.
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast
from bigjax.errors import UserError
from bigjax.methods.gradient import PLAIN, Gradient, Gradients, Objective
from bigjax.models import ops
from bigjax.tasks.task import Task

DELTA = "embedding_delta"  # of a batch: what its words' embeddings are moved by, float32 (B, L, E)
_START = 0xADD  # the random stream of the start, beside that of dropout


class Ascent(NamedTuple):
    """num_gradients: of an update, at embeddings that are moved between one and the next.
    step_size: the norm of a move of a sentence. radius: the largest norm that all moves come to.
    at_random: whether they start at a random place, or at the embeddings as they are.
    """

    num_gradients: int
    step_size: float
    radius: float
    at_random: bool


Epsilon = Annotated[
    float, AtLeast(1e-12), "the largest norm of what a sentence's word embeddings are moved by"
]


def none() -> None:
    """The loss at word embeddings as they are."""


def fgm(*, epsilon: Epsilon = 0.05) -> Ascent:
    """The mean of the loss at word embeddings as they are and of that at embeddings moved by
    `epsilon` along its gradient (Miyato et al. 2017): two gradients an update."""
    return Ascent(2, step_size=epsilon, radius=epsilon, at_random=False)


def freelb(
    *,
    epsilon: Epsilon = 0.1,
    steps: Annotated[int, AtLeast(2), "gradients an update, at embeddings moved in between"] = 3,
    step_size: Annotated[float, AtLeast(1e-12), "norm of one move of a sentence"] = 0.033,
) -> Ascent:
    """The mean of the losses on a way up that starts at a random place around the embeddings (Zhu
    et al. 2020)."""
    return Ascent(steps, step_size=step_size, radius=epsilon, at_random=True)


KIND = Choice(
    "kind",
    {"none": none, "fgm": fgm, "freelb": freelb},
    "trains also at word embeddings that are moved to where the loss is larger, by the fast "
    "gradient method or by FreeLB",
    default="none",
)


def gradients(ascent: Ascent | None, task: Task) -> Gradients:
    """The mean of the gradients on the way up, and of their sums; without a way, the gradient.

    Miyato et al. add the two losses. Their mean has the same direction, and leaves the learning
    rate and the norm at which gradients are clipped their meaning.

    Raises:
      UserError: the task's model has no embeddings of words.
    """
    if ascent is None:
        return PLAIN
    size = task.model.embedding_size
    if size is None:
        raise UserError(
            f"adversarial.kind moves embeddings of words, and a model of {task.name} has none; set "
            "--config.adversarial.kind=none"
        )

    def of(objective: Objective, key: jax.Array) -> Gradient:
        return _climbing(objective, ascent, key=key, size=size)

    cost = (
        f"adversarial training: {ascent.num_gradients} gradients an update, so it takes about "
        f"{ascent.num_gradients} times as long"
    )
    return Gradients(of, notes=(cost,))


def _climbing(objective: Objective, ascent: Ascent, *, key: jax.Array, size: int) -> Gradient:
    """key: of the update; dropout is the same at all places of the way, as Zhu et al. ask."""

    def moved(params: Any, delta_BLE: jax.Array, model_state: Any, rows: Any) -> Any:
        return objective(params, model_state, {**rows, DELTA: delta_BLE})

    def gradient(params: Any, model_state: Any, rows: Any) -> Any:
        segments_BL = rows["segments"]
        start_BLE = jnp.zeros((*segments_BL.shape, size), jnp.float32)
        if ascent.at_random:
            start_BLE = _random_start(key, rows, size=size, radius=ascent.radius)

        def climb(carry: Any, _: None) -> tuple[Any, Any]:
            total, delta_BLE = carry
            grads, (sums, model_state_after) = jax.grad(moved, argnums=(0, 1), has_aux=True)(
                params, delta_BLE, model_state, rows
            )
            total = jax.tree.map(jnp.add, total, (grads[0], sums))
            delta_BLE = _move(
                delta_BLE, grads[1], segments_BL, step_size=ascent.step_size, radius=ascent.radius
            )
            return (total, ops.split_rows(delta_BLE)), model_state_after

        aux = jax.eval_shape(objective, params, model_state, rows)[1]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (params, aux[0]))
        carry = (zeros, ops.split_rows(start_BLE))
        (total, _), states = jax.lax.scan(climb, carry, None, length=ascent.num_gradients)
        grads, sums = jax.tree.map(lambda x: x / ascent.num_gradients, total)
        return grads, (sums, jax.tree.map(lambda x: x[0], states))

    return gradient


def _move(
    delta_BLE: jax.Array,
    gradient_BLE: jax.Array,
    segments_BL: jax.Array,
    *,
    step_size: float,
    radius: float,
) -> jax.Array:
    """Up along the gradient by a norm of `step_size` in each sentence, and back into its ball."""
    norms_BL1 = sentence_norms(gradient_BLE, segments_BL)[..., None]
    delta_BLE += gradient_BLE * (step_size * _inverse(norms_BL1))
    norms_BL1 = sentence_norms(delta_BLE, segments_BL)[..., None]
    return delta_BLE * jnp.minimum(1.0, radius * _inverse(norms_BL1))


def sentence_norms(x_BLE: jax.Array, segments_BL: jax.Array) -> jax.Array:
    """For each token the norm over all of its sentence, float32 (B, L); 0 for padding."""
    same_BLL = segments_BL[:, :, None] == segments_BL[:, None, :]
    squares_BL = jnp.where(segments_BL > 0, jnp.square(x_BLE).sum(-1), 0.0)
    return jnp.sqrt(jnp.where(same_BLL, squares_BL[:, None, :], 0.0).sum(-1))


def _random_start(key: jax.Array, rows: Any, *, size: int, radius: float) -> jax.Array:
    """Uniform in a cube of as many dimensions as the sentence's embeddings have numbers, which lies
    in the ball; from (key, row of the global batch, place in it) alone."""
    segments_BL = rows["segments"]
    key = jax.random.fold_in(key, _START)
    of_row = lambda row: jax.random.uniform(  # noqa: E731
        jax.random.fold_in(key, row), (segments_BL.shape[1], size), minval=-radius, maxval=radius
    )
    same_BLL = segments_BL[:, :, None] == segments_BL[:, None, :]
    num_BL1 = jnp.sum(same_BLL, -1, dtype=jnp.float32)[..., None] * size
    inside_BL1 = (segments_BL > 0)[..., None]
    return jnp.where(inside_BL1, jax.vmap(of_row)(rows["row"]) / jnp.sqrt(num_BL1), 0.0)


def _inverse(norm: jax.Array) -> jax.Array:
    """1 / norm; 0 where that is no finite number, as of a sentence whose gradient is 0."""
    return jnp.where(norm > 1e-30, 1.0 / jnp.maximum(norm, 1e-30), 0.0)
