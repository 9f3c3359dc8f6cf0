"""Owns counting the floating-point operations of a traced function.

Only products count (dots and convolutions, two operations a multiply-add), as is usual for model
FLOPs; loops count as often as they run, which XLA's own analysis does not do.
"""

import math
from typing import Any

import jax
from jax.extend import core


def count_flops(jaxpr: core.ClosedJaxpr | Any) -> int:
    """Floating-point operations of one call, over all devices. A `while` counts as one pass."""
    total = 0
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if eqn.primitive.name == "dot_general":
            total += _dot_flops(eqn)
        elif eqn.primitive.name == "conv_general_dilated":
            total += _conv_flops(eqn)
        elif eqn.primitive.name == "cond":
            total += max(map(count_flops, eqn.params["branches"]))
        else:
            times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
            total += times * sum(map(count_flops, _inner(eqn.params)))
    return total


def _inner(params: dict[str, Any]) -> list[Any]:
    return [
        leaf
        for leaf in jax.tree.leaves(list(params.values()), is_leaf=lambda x: hasattr(x, "eqns"))
        if hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr")
    ]


def _dot_flops(eqn: Any) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    lhs = eqn.invars[0].aval.shape
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs[d] for d in contracted)


def _conv_flops(eqn: Any) -> int:
    kernel = eqn.invars[1].aval.shape
    out_features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // out_features
