"""Joining and comparing with stand-ins for JAX's coordinator; real ones are in
`test_processes.py`."""

import os
import re
import signal
import socket
import types

import jax
import pytest
from coordinator import Client
from jax._src import distributed as jax_distributed
from jax._src.lib import _jax

from bigjax.errors import UserError
from bigjax.processes import distributed
from bigjax.processes.distributed import Processes


@pytest.fixture
def first_of_two(monkeypatch):
    """This is process 0 of 2."""
    client = Client()
    state = types.SimpleNamespace(client=client, num_processes=2, process_id=0)
    monkeypatch.setattr(jax_distributed, "global_state", state)
    return client


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"coordinator": "a:1"}, "together, or none"),
        ({"num_processes": 2, "process_id": 0}, "together, or none"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "expected 0 to 1"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": -1}, "expected 0 to 1"),
        ({"heartbeat_seconds": 0}, "--heartbeat_seconds=0: expected 1 or more"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, problem):
    with pytest.raises(UserError, match=problem):
        distributed.join(Processes(**flags))


@pytest.mark.parametrize(
    ("environment", "joins"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "n[1-4]"}, True),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "n1"}, False),
        ({"SLURM_NTASKS": "4"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "x"}, True),
    ],
    ids=["alone", "slurm step", "slurm of one", "slurm shell", "open mpi"],
)
def test_the_environment_says_whether_there_are_others(monkeypatch, environment, joins):
    for name in [*distributed.LAUNCHERS, *distributed.LAUNCHERS.values()]:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    calls = []
    initialize = lambda *flags, **_: calls.append(flags)  # noqa: E731
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(distributed.signal, "signal", lambda *_: None)
    distributed.join(Processes())
    assert calls == [(None, None, None)] * joins
    distributed.join(Processes(distributed="off"))
    assert len(calls) == joins


def test_processes_that_do_not_find_each_other_are_an_error_that_says_what_to_do(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("DEADLINE_EXCEEDED: barrier\nmore")

    monkeypatch.setattr(jax.distributed, "initialize", fails)
    with pytest.raises(UserError, match=r"did not find each other \(DEADLINE_EXCEEDED: barrier\)"):
        distributed.join(Processes(distributed="on"))


@pytest.fixture
def far():
    """A listening socket, as of process 0."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def near(far, monkeypatch):
    """A connection to it through a relay."""
    monkeypatch.setenv("no_grpc_proxy", "example.org")
    host, _, port = distributed._relayed(f"127.0.0.1:{far.getsockname()[1]}").rpartition(":")
    assert os.environ["no_grpc_proxy"] == "example.org,127.0.0.1"  # noqa: SIM112
    with socket.create_connection((host, int(port)), timeout=20) as found:
        yield found
    started = distributed._relays.pop()
    started.communicate()
    assert started.returncode == 0, "it ends with the process that started it"


def test_a_relay_hands_on_both_ways_and_falls_silent_where_the_other_end_is_gone(near, far):
    near.sendall(b"to process 0")
    process_0, _ = far.accept()
    assert process_0.recv(100) == b"to process 0"
    process_0.sendall(b"from it")
    assert near.recv(100) == b"from it"
    distributed._relays[-1].send_signal(signal.SIGTERM)  # as one to all processes of a machine
    far.close()
    process_0.close()
    near.settimeout(0.5)
    for _ in range(3):
        near.sendall(b"more")
        with pytest.raises(TimeoutError):
            near.recv(100)


def test_a_relay_closes_the_connection_to_process_0_when_its_own_is_closed(near, far):
    process_0, _ = far.accept()
    process_0.settimeout(20)
    near.close()
    assert process_0.recv(100) == b""
    process_0.close()


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "host:1234"), (1, "relay of host:1234")], ids=["first", "other"]
)
def test_all_but_the_first_process_connect_through_a_relay(monkeypatch, number, expected):
    def make(address, node_id, *, heartbeat_timeout):
        return address, node_id, heartbeat_timeout

    def initialize(coordinator, _, number, *, heartbeat_timeout_seconds):
        made.append(
            _jax.get_distributed_runtime_client(
                coordinator, number, heartbeat_timeout=heartbeat_timeout_seconds
            )
        )

    made = []
    monkeypatch.setattr(_jax, "get_distributed_runtime_client", make)
    monkeypatch.setattr(distributed, "_relayed", lambda address: f"relay of {address}")
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(distributed.signal, "signal", lambda *_: None)
    distributed.join(Processes("auto", "host:1234", 2, number, heartbeat_seconds=7))
    assert made == [(expected, number, 14)]
    assert _jax.get_distributed_runtime_client is make


def test_a_jax_that_makes_its_client_elsewhere_is_left_as_it_is(monkeypatch):
    monkeypatch.delattr(_jax, "get_distributed_runtime_client")
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *flags, **_: calls.append(flags))
    monkeypatch.setattr(distributed.signal, "signal", lambda *_: None)
    distributed.join(Processes("auto", "host:1234", 2, 1))
    assert calls == [("host:1234", 2, 1)]
    assert not hasattr(_jax, "get_distributed_runtime_client")


def test_without_others_there_is_one_process_which_is_first_and_tells_nobody():
    assert (distributed.num_processes(), distributed.number()) == (1, 0)
    assert distributed.is_first() and distributed.first_says(True)
    assert not distributed.first_says(False)
    assert distributed.tell("x") == {}
    distributed.compare({"a": 1}, what="facts")


def test_what_is_told_replaces_what_was_told_before(first_of_two):
    first_of_two.said["bigjax/told/1"] = "one"
    assert distributed.tell("zero") == {0: "zero", 1: "one"}
    assert distributed.tell("zero again") == {0: "zero again", 1: "one"}


@pytest.mark.parametrize("error", [None, RuntimeError("INTERNAL: a task has died")])
def test_the_end_is_met_at_also_where_a_process_does_not_come(first_of_two, error):
    def wait(*place):
        waits.append(place)
        if error is not None:
            raise error

    waits = []
    first_of_two.wait_at_barrier = wait
    distributed.meet_at_end()
    assert waits == [("bigjax/end", 3_600_000)]


def test_a_coordinator_that_cannot_be_reached_tells_nothing(first_of_two, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("UNAVAILABLE")

    monkeypatch.setattr(first_of_two, "key_value_set", fails)
    assert distributed.tell("x") == {}


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ('{"a": 1, "b": [2]}', None),
        ('{"a": 3, "b": [2]}', "process 1 differs from process 0 in a: 3 and 1; start all"),
        ('{"a": 1}', "process 1 differs from process 0 in b: None and [2]; start all"),
        ('{"a": 1, "b": [2], "c": 4}', "process 1 differs from process 0 in c: 4 and None; start"),
    ],
    ids=["same", "other", "missing", "more"],
)
def test_facts_that_differ_are_named_with_the_process(first_of_two, others, problem):
    first_of_two.said["bigjax/facts/data/1"] = others
    if problem is None:
        distributed.compare({"a": 1, "b": [2]}, what="data")
        return
    with pytest.raises(UserError, match=re.escape(problem)):
        distributed.compare({"a": 1, "b": [2]}, what="data")


def test_what_to_do_about_facts_that_differ_can_be_said(first_of_two):
    first_of_two.said["bigjax/facts/steps/1"] = '{"a": 3}'
    with pytest.raises(UserError, match="in a: 3 and 1; mount it$"):
        distributed.compare({"a": 1}, what="steps", fix="mount it")


@pytest.mark.usefixtures("first_of_two")
def test_a_process_that_states_nothing_is_named():
    with pytest.raises(UserError, match="process 1 did not state its data within 3600 s"):
        distributed.compare({"a": 1}, what="data")
