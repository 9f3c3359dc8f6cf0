"""One process at a time in a run's folder."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from bigjax.errors import UserError
from bigjax.run_folder.lock import Lock

HOLDS = """
import sys, time
sys.path.insert(0, {root!r})
from bigjax.run_folder.lock import Lock
with Lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(workdir) -> subprocess.Popen:
    """Another process that holds the lock."""
    script = HOLDS.format(root=str(ROOT))
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(workdir)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_process_is_refused_and_told_of_the_first(tmp_path):
    child = hold(tmp_path)
    try:
        with pytest.raises(UserError) as error, Lock(str(tmp_path)):
            pass
    finally:
        child.kill()
        child.communicate()
    expected = (
        rf"--workdir={re.escape(str(tmp_path))} is in use by process {child.pid} on \S+ since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d; wait for it to end, or use another --workdir"
    )
    assert re.fullmatch(expected, str(error.value))


def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path):
    child = hold(tmp_path)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert (tmp_path / ".lock").read_text().startswith(f"process {child.pid} on ")
    with Lock(str(tmp_path)):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_ends_with_its_context_whatever_ended_that(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), Lock(str(tmp_path)):
            raise KeyError
    with Lock(str(tmp_path)), pytest.raises(UserError, match="in use by process"):
        Lock(str(tmp_path)).__enter__()


def test_two_folders_have_two_locks(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    with Lock(str(tmp_path / "a")), Lock(str(tmp_path / "b")):
        pass


def test_without_locks_in_the_file_system_a_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with Lock(str(tmp_path)), Lock(str(tmp_path)):
        pass
    said = f"--workdir={tmp_path}: its file system has no locks (No locks available); going on"
    assert capsys.readouterr().out.startswith(said)


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written to .No such file or directory.; give"):
        Lock(str(tmp_path / "absent")).__enter__()
