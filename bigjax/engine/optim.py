"""Owns the optimizer and its schedule from config: what turns a gradient into an update.

Per-parameter choices are rules over parameter names (`trees.match_rules`): learning-rate multiplier
(0 freezes), weight-decay multiplier.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.config.sections import DECAY_RULES, Optimization
from bigjax.engine import param_dtypes
from bigjax.engine.schedules import Schedule
from bigjax.errors import UserError
from bigjax.trees import match_rules


class Optimizer(NamedTuple):
    """tx: gradients to the direction of the update, before the learning rate.
    schedule: number of updates done -> learning rate.
    dtypes: what each parameter is stored in, see `param_dtypes.py`; None: all in float32.
    by_value: whether `tx` also asks for the loss, at other parameters too (`value_fn` of Optax).
    project: (params, or None, opt_state) -> what an update leaves of them; None: all."""

    tx: optax.GradientTransformation
    schedule: Schedule
    dtypes: Any = None
    is_trained: Any = None
    by_value: bool = False
    project: Callable[[Any, Any], Any] | None = None


class Direction(NamedTuple):
    """What an optimizer makes of a gradient before weight decay is added, and after. by_value: as
    of `Optimizer`."""

    tx: optax.GradientTransformation
    after_decay: optax.GradientTransformation | None = None
    by_value: bool = False


# The optimizers; keyword arguments are keys of the config's `optim` section.
B1 = Annotated[float, Between(0, 1), "decay of the mean of gradients"]
B2 = Annotated[float, Between(0, 1), "decay of the mean of squared gradients"]
Eps = Annotated[float, AtLeast(0), "added to the root of the mean of squares, which divides"]


def adamw(*, b1: B1 = 0.9, b2: B2 = 0.999, eps: Eps = 1e-8) -> Direction:
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return Direction(optax.scale_by_adam(b1=b1, b2=b2, eps=eps))


def nadamw(*, b1: B1 = 0.9, b2: B2 = 0.999, eps: Eps = 1e-8) -> Direction:
    """AdamW with Nesterov's momentum (Dozat 2016)."""
    return Direction(optax.scale_by_adam(b1=b1, b2=b2, eps=eps, nesterov=True))


def lamb(*, b1: B1 = 0.9, b2: B2 = 0.999, eps: Eps = 1e-6) -> Direction:
    """AdamW, the update of each array scaled by its norm, for large batches (You et al. 2020)."""
    return Direction(optax.scale_by_adam(b1=b1, b2=b2, eps=eps), optax.scale_by_trust_ratio())


def lion(*, b1: B1 = 0.9, b2: B2 = 0.99) -> Direction:
    """The sign of a mean of gradients (Chen et al. 2023): half the memory of Adam; wants a
    learning rate several times smaller."""
    return Direction(optax.scale_by_lion(b1=b1, b2=b2))


def sgd(
    *,
    momentum: Annotated[float, Between(0, 1), "decay of the sum of gradients; 0: none"] = 0.0,
    nesterov: Annotated[bool, "looks one step of momentum ahead"] = False,
) -> Direction:
    """The gradient, or with momentum a decaying sum of gradients."""
    if momentum == 0.0:
        return Direction(optax.identity())
    return Direction(optax.trace(decay=momentum, nesterov=nesterov))


def adafactor(
    *,
    decay_rate: Annotated[
        float, Between(0, 1), "how fast the decay of the mean of squares nears 1"
    ] = 0.8,
    min_dim_size_to_factor: Annotated[
        int, AtLeast(1), "arrays with two dimensions of this size or more are factored"
    ] = 128,
) -> Direction:
    """Adam without momentum, the mean of squares kept as a row and a column (Shazeer & Stern 2018):
    almost no memory."""
    return Direction(
        optax.chain(
            optax.scale_by_factored_rms(
                decay_rate=decay_rate, min_dim_size_to_factor=min_dim_size_to_factor
            ),
            optax.clip_by_block_rms(1.0),
        )
    )


def rmsprop(*, decay: B2 = 0.9, eps: Eps = 1e-8) -> Direction:
    """The gradient over the root of the mean of its squares (Tieleman & Hinton 2012)."""
    return Direction(optax.scale_by_rms(decay=decay, eps=eps))


def lbfgs(
    *,
    memory: Annotated[int, AtLeast(1), "past updates that the curvature is guessed from"] = 20,
    search_steps: Annotated[int, AtLeast(1), "losses looked at along a direction at most"] = 20,
) -> Direction:
    """The gradient bent by the curvature of past updates, and a search along it for the loss to
    fall (Liu & Nocedal 1989): for small convex models, to convergence. An update sees all rows
    (batch.rows), learning_rate=1 is what the search finds, and clip_norm=None."""
    search = optax.scale_by_zoom_linesearch(
        max_linesearch_steps=search_steps, initial_guess_strategy="one"
    )
    towards = optax.chain(optax.scale_by_lbfgs(memory_size=memory), optax.scale(-1.0))
    return Direction(optax.chain(towards, search, optax.scale(-1.0)), by_value=True)


_ALL = (adamw, nadamw, lamb, lion, sgd, adafactor, rmsprop, lbfgs)
OPTIMIZERS = {fn.__name__: fn for fn in _ALL} | {"adam": adamw}
OPTIMIZER = Choice("name", OPTIMIZERS, "how a gradient becomes a direction", default="adamw")


def make_optimizer(
    params: Any, *, settings: Optimization, direction: Direction, schedule: Schedule, depths: Any
) -> Optimizer:
    """The optimizer for `params` (arrays or shapes).

    Gradients are clipped to a global norm, turned into a direction, decoupled weight decay is added
    (Loshchilov & Hutter 2019), and each parameter's part is scaled by its rule's multiplier and by
    layer_decay ** (layers between it and the head). A multiplier of 0 freezes: no optimizer state
    is kept, and the norm does not count it. What is stored in bfloat16 is updated in float32 and
    rounded at random; moments stay float32.

    Args:
      direction: what one of OPTIMIZERS returns.
      depths: tree like `params` with each leaf's depth (int or array), the head deepest.
    Raises:
      UserError: rules that do not fit the parameters.
    """
    multipliers = match_rules(params, rules=settings.learning_rate_rules, what="learning rate")
    decay = match_rules(
        params,
        rules=settings.weight_decay_rules,
        what="weight decay",
        strict=settings.weight_decay_rules != DECAY_RULES,
    )
    if direction.by_value:
        _check_by_value(settings, multipliers)
    top = max(int(jnp.max(depth)) for depth in jax.tree.leaves(depths))
    scales = jax.tree.map(lambda m, d: m * settings.layer_decay ** (top - d), multipliers, depths)

    parts = [_clip_by_global_norm(settings.clip_norm)] if settings.clip_norm else []
    parts.append(direction.tx)
    if settings.weight_decay:
        parts.append(_add_decayed_weights(jax.tree.map(lambda d: d * settings.weight_decay, decay)))
    if direction.after_decay:
        parts.append(direction.after_decay)
    if any(m != 1.0 for m in jax.tree.leaves(multipliers)) or settings.layer_decay != 1.0:
        parts.append(_scale_each(scales))
    tx = optax.chain(*parts)
    is_trained = None
    if any(m == 0.0 for m in jax.tree.leaves(multipliers)):
        is_trained = jax.tree.map(lambda m: m != 0.0, multipliers)
        kinds = jax.tree.map(lambda trained: "trained" if trained else "frozen", is_trained)
        tx = optax.partition({"trained": tx, "frozen": optax.set_to_zero()}, kinds)
    dtypes = param_dtypes.dtypes(params, rules=settings.param_dtype_rules)
    return Optimizer(tx, schedule, dtypes, is_trained, direction.by_value)


def _check_by_value(settings: Optimization, multipliers: Any) -> None:
    """A search along a direction is of the loss alone and of all parameters alike."""
    changed = {
        "clip_norm": settings.clip_norm is not None,
        "weight_decay": settings.weight_decay != 0,
        "layer_decay": settings.layer_decay != 1,
        "learning_rate_rules": any(m != 1.0 for m in jax.tree.leaves(multipliers)),
    }
    found = [key for key, is_changed in changed.items() if is_changed]
    if found:
        key = found[0]
        off = {"weight_decay": 0, "layer_decay": 1, "clip_norm": None}.get(key, "its default")
        raise UserError(
            f"config.optim.{key}={getattr(settings, key)!r} does not go with an optimizer that "
            f"searches along its direction; set it to {off}"
        )


def _clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
    """As `optax.clip_by_global_norm`, whose select keeps XLA from fusing the scaling into the
    update: on a CPU that costs as much as the rest of AdamW."""

    def update(updates: Any, params: Any) -> Any:  # noqa: ARG001
        scale = jnp.minimum(1.0, max_norm / jnp.maximum(optax.tree.norm(updates), 1e-16))
        return jax.tree.map(lambda u: u * scale, updates)

    return optax.stateless(update)


def _add_decayed_weights(decay: Any) -> optax.GradientTransformation:
    def update(updates: Any, params: Any) -> Any:
        return jax.tree.map(
            lambda u, p, d: u if isinstance(u, optax.MaskedNode) or d == 0.0 else u + d * p,
            updates,
            params,
            _like(updates, decay),
            is_leaf=_masked,
        )

    return optax.stateless(update)


def _scale_each(scales: Any) -> optax.GradientTransformation:
    def update(updates: Any, params: Any) -> Any:  # noqa: ARG001
        return jax.tree.map(
            lambda u, s: u if isinstance(u, optax.MaskedNode) else u * s,
            updates,
            _like(updates, scales),
            is_leaf=_masked,
        )

    return optax.stateless(update)


def _masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _like(updates: Any, values: Any) -> Any:
    """`values` with the holes that `optax.partition` made in `updates`."""
    return jax.tree.map(lambda u, v: u if _masked(u) else v, updates, values, is_leaf=_masked)
