"""Owns how much memory a device has, and how much an update takes by XLA's own analysis."""

from typing import Any

import jax

SHARE = 0.92  # of a device's memory; the rest is for the runtime, and for evaluation


def of_device(given_gib: float | None) -> int | None:
    """Bytes of a device: as given, or as the device says; None where neither says anything (a CPU,
    whose memory all processes of the machine share)."""
    if given_gib is not None:
        return int(given_gib * 2**30)
    stats = jax.local_devices()[0].memory_stats()
    return stats.get("bytes_limit") if stats else None


def peak(compiled: Any) -> int | None:
    """Bytes that a compiled program takes on each device at its peak: arguments, results that do
    not take their place, and what lies in between; None where XLA does not say."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    in_and_out = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return in_and_out - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes


def fits(compiled: Any, *, limit: int | None) -> bool:
    found = peak(compiled)
    return limit is None or found is None or found <= SHARE * limit
