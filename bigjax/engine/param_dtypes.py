"""Owns parameters that are stored in fewer bits than they are updated in.

An update is made in float32 and then rounded at random, up as often as is needed for the mean to be
the exact value (Gupta et al. 2015). Rounding to the nearest would lose every update that is smaller
than half of the last bit, in bfloat16 a 512th of the parameter: training would stand still.
"""

from typing import Any

import jax
import jax.numpy as jnp

from bigjax.errors import UserError
from bigjax.trees import Rules, match_rules

DTYPES = ("float32", "bfloat16")


def dtypes(params: Any, *, rules: Rules) -> Any:
    """For each leaf of `params` the name of the type it is stored in; None where all are float32.

    Raises:
      UserError: rules that do not fit the parameters, or an unknown type.
    """
    for regex, name in rules:
        if name not in DTYPES:
            raise UserError(
                f"optim.param_dtype_rules: {name!r} for {regex!r}; expected {' or '.join(DTYPES)}"
            )
    found = match_rules(params, rules=rules, what="param dtype")
    return found if set(jax.tree.leaves(found)) != {"float32"} else None


def widen(params: Any) -> Any:
    """Every leaf in float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32), params)


def narrow(params: Any, *, dtypes: Any) -> Any:
    """Every float32 leaf in its type, rounded to the nearest."""
    return jax.tree.map(lambda x, dtype: x.astype(dtype), params, dtypes)


def at_random(params: Any, *, dtypes: Any, key: jax.Array) -> Any:
    """Every float32 leaf in its type, what has fewer bits rounded at random. Which way depends on
    the key, the leaf and the place in it alone, so on no mesh."""
    leaves, treedef = jax.tree.flatten(params)
    names = jax.tree.leaves(dtypes)
    rounded = [
        x if name == "float32" else _to_bfloat16(x, key=jax.random.fold_in(key, i))
        for i, (x, name) in enumerate(zip(leaves, names, strict=True))
    ]
    return jax.tree.unflatten(treedef, rounded)


def _to_bfloat16(x: jax.Array, *, key: jax.Array) -> jax.Array:
    """bfloat16 is the upper half of a float32: adding a random lower half carries into it just as
    often as what is cut off is worth."""
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = (jax.lax.bitcast_convert_type(x, jnp.uint32) + noise) & jnp.uint32(0xFFFF0000)
    rounded = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)
