"""Owns joining the processes of a run, their talk, and what they must agree on. The engine is
`jax.distributed`: how a cluster tells its processes of each other is its business.
"""

import json
import os
import signal
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax._src import distributed as jax_distributed  # the one way to talk without devices
from jax.experimental import multihost_utils

from bigjax.errors import UserError

# Variables that say how many processes there are, by the launcher that sets them.
LAUNCHERS = {"SLURM_NTASKS": "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE": "OMPI_MCA_orte_hnp_uri"}
COMPARE_SECONDS = 3600  # reading data may take one process longer; dead ones are noticed before


class NotJoined(UserError):
    """The processes did not find each other: one may be late or gone, so a restart may help."""

    exit_code = 76


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
        raise NotJoined(
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


def num_processes() -> int:
    """How many have joined. Unlike `jax.process_count()` it asks no devices, which wait."""
    return jax_distributed.global_state.num_processes or 1


def number() -> int:
    """Which of them this is."""
    return jax_distributed.global_state.process_id or 0


def tell(text: str) -> dict[int, str]:
    """Replaces what this process tells the others; returns what each told last, itself included.
    Goes through the coordinator; while that cannot be reached, nobody is known to tell anything.
    """
    client = jax_distributed.global_state.client
    try:
        client.key_value_set(f"bigjax/told/{number()}", text, allow_overwrite=True)
        told = client.key_value_dir_get("bigjax/told/")
    except (AttributeError, RuntimeError):  # without a client at the very end of a process
        return {}
    return {int(key.rpartition("/")[2]): found for key, found in told}


def compare(facts: Mapping[str, Any], *, what: str) -> None:
    """Raises UserError in every process where one states other facts than the first, and names it.
    Talks through the coordinator, so it comes before any collective can hang.

    Args:
      facts: name -> JSON value.
      what: a name for these facts, used once in a run.
    """
    if num_processes() == 1:
        return
    client = jax_distributed.global_state.client
    key = f"bigjax/facts/{what}"
    client.key_value_set(f"{key}/{number()}", json.dumps(facts))
    first: dict[str, Any] = {}
    for other in range(num_processes()):
        try:
            text = client.blocking_key_value_get(f"{key}/{other}", COMPARE_SECONDS * 1000)
        except RuntimeError as error:
            raise UserError(
                f"process {other} did not state its {what} within {COMPARE_SECONDS} s "
                f"({str(error).splitlines()[0]}); see what it printed, and start again"
            ) from error
        found = json.loads(text)
        first = first or found
        for name in {**first, **found}:
            if found.get(name) != first.get(name):
                raise UserError(
                    f"process {other} differs from process 0 in {name}: {found.get(name)!r} and "
                    f"{first.get(name)!r}; start all processes with the same code, packages, "
                    "config and data"
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
