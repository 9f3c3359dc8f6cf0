"""Owns the optimizer and its schedule from config: what turns a gradient into an update.

Per-parameter choices are rules over parameter names (`trees.match_rules`): learning-rate multiplier
(0 freezes), weight-decay multiplier.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bigjax.engine import param_dtypes
from bigjax.engine.schedules import Schedule
from bigjax.trees import match_rules

RuleTuple = tuple[tuple[str, float], ...]


class Optimizer(NamedTuple):
    """tx: gradients to the direction of the update, before the learning rate.
    schedule: number of updates done -> learning rate.
    dtypes: what each parameter is stored in, see `param_dtypes.py`; None: all in float32."""

    tx: optax.GradientTransformation
    schedule: Schedule
    dtypes: Any = None
    is_trained: Any = None


# The direction of each optimizer, before weight decay and learning rate. Their keyword arguments
# are keys of the config's `optim` section.


def adamw(*, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    return optax.scale_by_adam(b1=b1, b2=b2, eps=eps)


def nadamw(*, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    return optax.scale_by_adam(b1=b1, b2=b2, eps=eps, nesterov=True)


def lamb(*, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6) -> Any:
    return optax.scale_by_adam(b1=b1, b2=b2, eps=eps)


def lion(*, b1: float = 0.9, b2: float = 0.99) -> Any:
    return optax.scale_by_lion(b1=b1, b2=b2)


def sgd(*, momentum: float = 0.0, nesterov: bool = False) -> Any:
    if momentum == 0.0:
        return optax.identity()
    return optax.trace(decay=momentum, nesterov=nesterov)


def adafactor(*, decay_rate: float = 0.8, min_dim_size_to_factor: int = 128) -> Any:
    return optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=decay_rate, min_dim_size_to_factor=min_dim_size_to_factor
        ),
        optax.clip_by_block_rms(1.0),
    )


def rmsprop(*, decay: float = 0.9, eps: float = 1e-8) -> Any:
    return optax.scale_by_rms(decay=decay, eps=eps)


OPTIMIZERS = {fn.__name__: fn for fn in (adamw, nadamw, lamb, lion, sgd, adafactor, rmsprop)} | {
    "adam": adamw
}

# Each schedule runs from 1 to `floor` in the steps after warm-up; keyword arguments are keys of the
# config's `schedule` section.


DECAY_RULES = ((r".*(bias|scale)", 0.0), (r".*", 1.0))


def make_optimizer(
    params: Any,
    *,
    schedule: Schedule,
    depths: Any,
    name: str = "adamw",
    learning_rate: float,  # noqa: ARG001 - the schedule's peak; a key of the same section
    weight_decay: float = 0.0,
    weight_decay_rules: RuleTuple = DECAY_RULES,
    learning_rate_rules: RuleTuple = ((r".*", 1.0),),
    layer_decay: float = 1.0,
    clip_norm: float | None = 1.0,
    param_dtype_rules: tuple[tuple[str, str], ...] = ((r".*", "float32"),),
    **options: Any,
) -> Optimizer:
    """The optimizer for `params` (arrays or shapes).

    Gradients are clipped to a global norm of `clip_norm`, turned into a direction by the named
    optimizer, decoupled weight decay is added (Loshchilov & Hutter 2019), and each parameter's part
    is scaled by its rule's multiplier and by layer_decay ** (layers between it and the head).
    A multiplier of 0 freezes: no optimizer state is kept, and the norm does not count it. What is
    stored in bfloat16 is updated in float32 and rounded at random; moments stay float32.

    Args:
      depths: tree like `params` with each leaf's depth (int or array), the head deepest.
    Raises:
      UserError: rules that do not fit the parameters.
    """
    multipliers = match_rules(params, rules=learning_rate_rules, what="learning rate")
    given = weight_decay_rules != DECAY_RULES
    decay = match_rules(params, rules=weight_decay_rules, what="weight decay", strict=given)
    top = max(int(jnp.max(depth)) for depth in jax.tree.leaves(depths))
    scales = jax.tree.map(lambda m, d: m * layer_decay ** (top - d), multipliers, depths)

    parts = [_clip_by_global_norm(clip_norm)] if clip_norm else []
    parts.append(OPTIMIZERS[name](**options))
    if weight_decay:
        parts.append(_add_decayed_weights(jax.tree.map(lambda d: d * weight_decay, decay)))
    if name == "lamb":
        parts.append(optax.scale_by_trust_ratio())
    if any(m != 1.0 for m in jax.tree.leaves(multipliers)) or layer_decay != 1.0:
        parts.append(_scale_each(scales))
    tx = optax.chain(*parts)
    is_trained = None
    if any(m == 0.0 for m in jax.tree.leaves(multipliers)):
        is_trained = jax.tree.map(lambda m: m != 0.0, multipliers)
        kinds = jax.tree.map(lambda trained: "trained" if trained else "frozen", is_trained)
        tx = optax.partition({"trained": tx, "frozen": optax.set_to_zero()}, kinds)
    dtypes = param_dtypes.dtypes(params, rules=param_dtype_rules)
    return Optimizer(tx, schedule, dtypes, is_trained)


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
