"""Owns joining the processes of a run, and what they must agree on. The engine is `jax.distributed`:
how a cluster tells its processes of each other is its business.
"""

import json
import os
import signal
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from bigjax.errors import UserError

# Variables that say how many processes there are, by the launcher that sets them.
LAUNCHERS = {"SLURM_NTASKS": "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE": "OMPI_MCA_orte_hnp_uri"}
COMPARE_SECONDS = 300


class Processes(NamedTuple):
    """How this process joins others; the flags of `main.py`.

    distributed: "auto" is on where `coordinator` is given or the environment of SLURM or Open MPI
      shows several processes; "on" lets JAX find the cluster (TPU VM, GKE, SLURM, Open MPI).
    coordinator, num_processes, process_id: HOST:PORT of process 0, how many, and which this is.
    heartbeat_seconds: after which a process that is not heard from ends the others.
    """

    distributed: Literal["auto", "on", "off"] = "auto"
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    heartbeat_seconds: int = 100


def join(processes: Processes) -> None:
    """Joins the other processes of the run, if there are any; before any use of JAX's devices.

    Raises:
      UserError: flags that do not go together, or processes that do not find each other.
    """
    mode, coordinator, num, number, heartbeat = processes
    given = [coordinator is not None, num is not None, number is not None]
    if any(given) and not all(given):
        raise UserError("give --coordinator, --num_processes and --process_id together, or none")
    if all(given) and (num < 1 or not 0 <= number < num):
        raise UserError(f"--process_id={number}: expected 0 to {num - 1}, as --num_processes={num}")
    if mode == "off" or (mode == "auto" and not any(given) and not _launched_in_parallel()):
        return
    try:
        jax.distributed.initialize(coordinator, num, number, heartbeat_timeout_seconds=heartbeat)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the processes of the run did not find each other ({str(error).splitlines()[0]}); "
            "see that process 0 is reachable, or give --coordinator=HOST:PORT --num_processes=N "
            "--process_id=I, or --distributed=off"
        ) from error
    if hasattr(signal, "SIGTERM"):
        # JAX announces a SIGTERM to every process; an interrupt should be announced likewise.
        signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def is_first() -> bool:
    """Whether this is the process that writes what people read."""
    return jax.process_index() == 0


def compare(facts: Mapping[str, Any]) -> None:
    """Raises UserError in every process where one states other facts than the first, and names it.
    Talks through the coordinator, so it comes before any collective can hang.

    Args:
      facts: name -> JSON value, the same names everywhere.
    """
    if jax.process_count() == 1:
        return
    from jax._src import distributed  # the one way to talk without devices; Orbax uses it as well

    client = distributed.global_state.client
    mine = json.dumps(facts, sort_keys=True)
    client.key_value_set(f"bigjax/facts/{jax.process_index()}", mine)
    first: dict[str, Any] = {}
    for number in range(jax.process_count()):
        text = client.blocking_key_value_get(f"bigjax/facts/{number}", COMPARE_SECONDS * 1000)
        found = json.loads(text)
        first = first or found
        for name in first:
            if found.get(name) != first[name]:
                raise UserError(
                    f"process {number} differs from process 0 in {name}: {found.get(name)!r} and "
                    f"{first[name]!r}; start all processes with the same code, packages, config "
                    "and data"
                )


def first_says(value: bool) -> bool:
    """What the first process says, in all of them. A collective."""
    if jax.process_count() == 1:
        return value
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def _launched_in_parallel() -> bool:
    return any(
        os.environ.get(size, "1") not in ("", "1") and mark in os.environ
        for size, mark in LAUNCHERS.items()
    )
