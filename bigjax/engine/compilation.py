"""Owns the cache of compiled programs on the disk."""

import hashlib
import os
import platform

import jax


def use_cache() -> None:
    """Keeps compiled programs between runs, for each kind of CPU apart: they are machine code."""
    if jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        flags = ""
    machine = hashlib.sha256((platform.machine() + flags).encode()).hexdigest()[:12]
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))
    jax.config.update(
        "jax_compilation_cache_dir", os.path.join(cache, "bigjax", "compiled", machine)
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
