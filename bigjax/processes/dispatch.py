"""Owns the order in which programs are given to devices."""

from typing import Any

import jax


def in_order(result: Any) -> Any:
    """The result of a program, waited for where it must be done before the next one is dispatched.

    Programs in which devices wait for each other must run in one order on all of them. GPUs and
    TPUs keep to it; on CPU devices one overtakes another, and both may wait for ever.
    """
    if jax.default_backend() == "cpu" and jax.device_count() > 1:
        jax.block_until_ready(result)
    return result
