"""Owns joining the processes of a run, their talk, and what they must agree on. The engine is
`jax.distributed`: how a cluster tells its processes of each other is its business. Who is gone is
`watchdog.py`'s to say, so a connection to a dead process 0 stays open until that has said it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax._src import distributed as jax_distributed  # the one way to talk without devices
from jax._src.lib import _jax
from jax.experimental import multihost_utils

from bigjax.errors import ProcessGone, UserError
from bigjax.processes import relay

# Variables that say how many processes there are, by the launcher that sets them.
LAUNCHERS = {"SLURM_NTASKS": "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE": "OMPI_MCA_orte_hnp_uri"}
# Reading data, or writing results, may take one process longer; dead ones are noticed before.
WAIT_SECONDS = 3600
SAME = "start all processes with the same code, packages, config and data"


class Processes(NamedTuple):
    """How this process joins others; the flags of `main.py`.

    distributed: "auto" is on where `coordinator` is given or the environment of SLURM or Open MPI
      shows several processes; "on" lets JAX find the cluster (TPU VM, GKE, SLURM, Open MPI).
    coordinator, num_processes, process_id: HOST:PORT of process 0, how many, and which this is.
    heartbeat_seconds: after which, and within twice that, JAX ends processes that have lost another
      one. The watchdog is to be sooner, as JAX names nobody.
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
    if heartbeat < 1:
        raise UserError(f"--heartbeat_seconds={heartbeat}: expected 1 or more")
    given = [coordinator is not None, num is not None, number is not None]
    if any(given) and not all(given):
        raise UserError("give --coordinator, --num_processes and --process_id together, or none")
    if all(given) and (num < 1 or not 0 <= number < num):
        raise UserError(f"--process_id={number}: expected 0 to {num - 1}, as --num_processes={num}")
    if mode == "off" or (mode == "auto" and not any(given) and not _launched_in_parallel()):
        return
    try:
        with _client_behind_relay():
            jax.distributed.initialize(
                coordinator, num, number, heartbeat_timeout_seconds=2 * heartbeat
            )
    except (RuntimeError, ValueError) as error:
        raise ProcessGone(
            f"the processes of the run did not find each other ({str(error).splitlines()[0]}); "
            "check that process 0 is reachable, or give --coordinator=HOST:PORT --num_processes=N "
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


def meet_at_end() -> None:
    """Waits until all processes have come to their end. That one does not is noticed elsewhere."""
    client = jax_distributed.global_state.client
    with contextlib.suppress(AttributeError, RuntimeError):  # without a client, or a process
        client.wait_at_barrier("bigjax/end", WAIT_SECONDS * 1000)


def compare(facts: Mapping[str, Any], *, what: str, fix: str = SAME) -> None:
    """Raises UserError in every process where one states other facts than the first, and names it.
    Talks through the coordinator, so it comes before any collective can hang.

    Args:
      facts: name -> JSON value.
      what: a name for these facts, used once in a run.
      fix: what to do where they differ.
    """
    if num_processes() == 1:
        return
    client = jax_distributed.global_state.client
    key = f"bigjax/facts/{what}"
    client.key_value_set(f"{key}/{number()}", json.dumps(facts))
    first: dict[str, Any] = {}
    for other in range(num_processes()):
        try:
            text = client.blocking_key_value_get(f"{key}/{other}", WAIT_SECONDS * 1000)
        except RuntimeError as error:
            raise UserError(
                f"process {other} did not state its {what} within {WAIT_SECONDS} s "
                f"({str(error).splitlines()[0]}); look at what it printed, and run again"
            ) from error
        found = json.loads(text)
        first = first or found
        for name in {**first, **found}:
            if found.get(name) != first.get(name):
                raise UserError(
                    f"process {other} differs from process 0 in {name}: {found.get(name)!r} and "
                    f"{first.get(name)!r}; {fix}"
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


_relays: list[subprocess.Popen[str]] = []  # one; it lives as long as this process


@contextlib.contextmanager
def _client_behind_relay() -> Iterator[None]:
    """JAX's client aborts its process as soon as its connection to process 0 is closed, and takes
    no callback that could prevent it. So that of another process connects to a relay, where a dead
    process 0 is a silent one. Where a later JAX makes its client elsewhere, there is none."""
    make = getattr(_jax, "get_distributed_runtime_client", None)

    def make_behind_relay(address: str, node_id: int, **options: Any) -> Any:
        return make(address if node_id == 0 else _relayed(address), node_id, **options)

    if make is None:
        yield
        return
    _jax.get_distributed_runtime_client = make_behind_relay
    try:
        yield
    finally:
        _jax.get_distributed_runtime_client = make


def _relayed(address: str) -> str:
    """Starts a relay to HOST:PORT; returns its own address. It is a process, as a thread would be
    waited for in vain by what waits for process 0 and holds Python's lock."""
    host, _, port = address.rpartition(":")
    command = [sys.executable, "-I", "-S", relay.__file__, host.strip("[]"), port]
    pipe = subprocess.PIPE
    started = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
    _relays.append(started)
    # gRPC would ask a proxy for this machine, if there is one.
    direct = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy")  # noqa: SIM112
    os.environ["no_grpc_proxy"] = f"{direct},127.0.0.1" if direct else "127.0.0.1"  # noqa: SIM112
    return f"127.0.0.1:{int(started.stdout.readline())}"
