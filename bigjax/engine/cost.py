"""Owns what an update costs: floating-point operations, counted in its traced function, and memory
by XLA's own analysis, beside what a device has.

Only products count as operations (dots and convolutions, two a multiply-add), as is usual for model
FLOPs; loops count as often as they run, which XLA's own analysis does not do.
"""

import math
import os
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval


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


def needed(traced: core.ClosedJaxpr) -> Any:
    """What of a traced function its results depend on: a derivative that is written out, such as
    that of `ops.matmul`, has the gradient of a kernel that nothing trains as well, which XLA drops.
    """
    return partial_eval.dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))[0]


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


SHARE = 0.92  # of a device's memory; the rest is for the runtime, and for evaluation


def device_memory(given_gib: float | None) -> int | None:
    """Bytes of a device: as given, or as the device says; of a CPU, those of the machine. None
    where nothing says, and for several devices of one CPU, which stand for other ones."""
    if given_gib is not None:
        return int(given_gib * 2**30)
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return _machine_memory() if jax.local_device_count() == 1 else None
    stats = device.memory_stats()
    return stats.get("bytes_limit") if stats else None


def _machine_memory() -> int | None:
    """Bytes that this machine, or the container on it, has for its processes."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # no such names on this system
        return None
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            limit = file.read().strip()
    except OSError:
        return found
    return min(found, int(limit)) if limit.isdecimal() else found


def peak_memory(compiled: Any) -> int | None:
    """Bytes that a compiled program takes on each device at its peak: arguments, results that do
    not take their place, and what lies in between; None where XLA does not say."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    in_and_out = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return in_and_out - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes


def fits(compiled: Any, *, limit: int | None) -> bool:
    found = peak_memory(compiled)
    return limit is None or found is None or found <= SHARE * limit
