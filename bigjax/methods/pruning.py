"""Owns magnitude pruning (Zhu & Gupta 2017): which weights are zero from when on, as a wrapper of
the optimizer's transform. Masks are part of the optimizer's state, so a run resumes with them."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigjax.config.fields import AtLeast, Between
from bigjax.config.sections import Evaluation
from bigjax.config.values import Config
from bigjax.errors import UserError, nearest
from bigjax.trees import flatten, match_rules, nested

RULES = ((r"head/.*", "keep"), (r".*/kernel", "prune"), (r".*", "keep"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pruning:
    """Magnitude pruning: while it trains, more and more of the smallest weights of each kernel
    become zero and stay so; see [methods.md](methods.md)."""

    sparsity: Annotated[
        float, Between(0, 0.999), "share of each kernel's weights that are zero at the end; 0: off"
    ] = 0.0
    begin: Annotated[
        float, Between(0, 1), "when the first become zero, as a share of the whole run"
    ] = 0.1
    end: Annotated[float, Between(0, 1), "when the last do, as a share of the whole run"] = 0.7
    every_steps: Annotated[int, AtLeast(1), "updates between two choices of weights"] = 10
    rules: Annotated[
        tuple[tuple[str, str], ...],
        "what becomes of each parameter, 'prune' or 'keep'; pairs (regular expression, value), the "
        "first that matches counts",
    ] = RULES


class Pruned(NamedTuple):
    """State of the wrapped transform. count: int32, updates done. masks: for each parameter that is
    pruned, by name, bool: which of its weights are left. inner: the transform's own."""

    count: jax.Array
    masks: Any
    inner: Any


Project = Callable[[Any, Any], Any]  # (params or None, the optimizer's state) -> the same


def wrap(
    tx: optax.GradientTransformation, params: Any, config: Config, *, total_steps: int
) -> tuple[optax.GradientTransformation, Project | None]:
    """The transform with masks in its state, and what is to be made of parameters after an update;
    `tx` itself and None where nothing is pruned.

    Args:
      params: arrays or shapes.
    Raises:
      UserError: rules that do not fit, or settings that do not go together.
    """
    settings = config.of(Pruning)
    if settings.sparsity == 0:
        return tx, None
    names = _chosen(params, settings)
    if settings.begin > settings.end:
        raise UserError(f"config.prune.begin={settings.begin}: is after prune.end={settings.end}")
    if config.of(Evaluation).final == "best":
        raise UserError(
            "config.eval.final='best' would take a checkpoint from before all was pruned, where "
            "that scores better on dev; set eval.final=latest"
        )
    shares = schedule(settings, total_steps=total_steps)

    def init(params: Any) -> Pruned:
        leaves = flatten(params)
        masks = nested({name: jnp.ones(leaves[name].shape, bool) for name in names})
        return Pruned(jnp.zeros((), jnp.int32), masks, tx.init(params))

    def update(updates: Any, state: Pruned, params: Any, **more: Any) -> tuple[Any, Pruned]:
        updates, inner = optax.with_extra_args_support(tx).update(
            updates, state.inner, params, **more
        )
        leaves, masks = flatten(params), flatten(state.masks)
        share = jnp.asarray(shares)[jnp.minimum(state.count, len(shares) - 1)]
        chosen = jax.lax.cond(
            state.count % settings.every_steps == 0,
            lambda: {name: _largest(leaves[name], share) for name in names},
            lambda: masks,
        )
        return updates, Pruned(state.count + 1, nested(chosen), inner)

    def project(params: Any, state: Pruned) -> Any:
        if params is None:  # no average is kept
            return None
        masks = flatten(state.masks)
        leaves = flatten(params)
        kept = {name: jnp.where(mask, leaves[name], 0.0) for name, mask in masks.items()}
        return jax.tree.unflatten(jax.tree.structure(params), list({**leaves, **kept}.values()))

    return optax.GradientTransformationExtraArgs(init, update), project


def schedule(settings: Pruning, *, total_steps: int) -> np.ndarray:
    """The share of zeros after each update, float32 (total_steps,): it rises fast at first and ever
    slower (their equation 1), and is `sparsity` from the last choice at or before `end` on."""
    steps = np.arange(total_steps)
    steps -= steps % settings.every_steps  # what is chosen then holds until the next
    begin, end = settings.begin * total_steps, settings.end * total_steps
    end -= end % settings.every_steps
    done = np.clip((steps - begin) / max(1, end - begin), 0, 1)
    return np.where(steps < begin, 0, settings.sparsity * (1 - (1 - done) ** 3)).astype(np.float32)


def _chosen(params: Any, settings: Pruning) -> list[str]:
    ours = settings.rules == RULES
    roles = flatten(match_rules(params, rules=settings.rules, what="prune", strict=not ours))
    if wrong := sorted(set(roles.values()) - {"prune", "keep"}):
        raise UserError(f"config.prune.rules: {nearest(wrong[0], ('prune', 'keep'))}")
    names = [name for name, role in roles.items() if role == "prune"]
    if not names:
        raise UserError(
            "config.prune.rules: they prune none of this run's parameters (those beside adapters "
            "are frozen); prune.sparsity=0 trains without"
        )
    return names


def _largest(weights: jax.Array, share: jax.Array) -> jax.Array:
    """Which weights are among the largest, bool: `share` of them are not, rounded down, and where
    more are zero already, these."""
    # The bits of numbers that are not negative are in the order of the numbers: the limit is found
    # by halving, which takes no sort and on several devices only sums.
    bits = jax.lax.bitcast_convert_type(jnp.abs(weights), jnp.int32)
    place = jnp.floor(share * weights.size).astype(jnp.int32)

    def halve(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = low + (high - low) // 2
        enough = jnp.sum(bits <= middle, dtype=jnp.int32) > place
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    ends = jnp.int32(0), jnp.int32(2**31 - 1)
    limit, _ = jax.lax.fori_loop(0, 31, halve, ends)
    return (bits >= limit) & ((weights != 0) | (share == 0))
