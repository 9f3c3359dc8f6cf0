"""The watchdog with a short patience, in a process of its own where it ends one. What it does for
real processes of a run is in `test_processes.py`."""

import os
import threading
import time

import pytest
import warm

from bigjax import errors
from bigjax.errors import Stopped, UserError
from bigjax.processes import watchdog
from bigjax.processes.watchdog import Watchdog

# Process 0 of 2, with peers that say what the test wants instead of a coordinator.
PROGRAM = """
import json, sys, threading, time
from bigjax.processes import distributed
from bigjax.errors import UserError
from bigjax.processes.watchdog import Watchdog
distributed.num_processes = lambda: 2
distributed.number = lambda: 0
other = {"who": "(host H, pid 7)", "beat": 0, "moves": 3, "step": 120, "ended": None, "code": 0}
other["leaving"] = False
def tell(text):
    change(other)
    return {0: text, 1: json.dumps(other)}
def lives(other):
    other["beat"] += 1
change = lives
distributed.tell = tell
dog = Watchdog()
dog.set_times(stack_seconds=60.0, peer_seconds=0.5, hang_seconds=60.0)
def work(seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        dog.progress(121)
        time.sleep(0.02)
"""


@pytest.fixture
def ended(tmp_path):
    """Runs a program in a process; its exit code, stdout and stderr."""

    def run(program):
        paths = {"output": tmp_path / "output", "errors": tmp_path / "errors"}
        code = warm.start(program=PROGRAM + program, env=os.environ, **paths).wait(60)
        return code, paths["output"].read_text(), paths["errors"].read_text().strip()

    return run


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(watchdog, "LINGER_SECONDS", 0.1)
    found = Watchdog()
    found.set_times(stack_seconds=0.3, peer_seconds=60.0, hang_seconds=60.0)
    return found


def waited_for(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_the_stacks_of_all_threads_are_printed_once_when_nothing_is_done(impatient, capfd):
    release = threading.Event()

    def a_thread_that_is_stuck():
        release.wait()

    thread = threading.Thread(target=a_thread_that_is_stuck)
    thread.start()
    printed = ""
    with impatient:
        impatient.progress(17)

        def is_printed():
            nonlocal printed
            printed += capfd.readouterr().err
            return printed.count("Thread 0x") >= 1 and "test_watchdog.py" in printed

        assert waited_for(is_printed)
        time.sleep(1.0)
    release.set()
    thread.join()
    printed += capfd.readouterr().err
    assert printed.count("nothing was done for") == 1
    assert "s at step 17; what each thread does:" in printed
    assert "in a_thread_that_is_stuck" in printed


def test_nothing_is_printed_while_something_is_done(impatient, capfd):
    with impatient:
        for step in range(60):
            impatient.progress(step)
            time.sleep(0.02)
    assert capfd.readouterr().err == ""


def test_a_watchdog_of_one_process_ends_with_its_run(impatient):
    with impatient:
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("watchdog") == 1 and "watchdog talk" not in names
    assert waited_for(lambda: "watchdog" not in [t.name for t in threading.enumerate()])


def test_an_error_of_one_process_alone_passes_through(impatient):
    with pytest.raises(UserError, match="bad"), impatient:
        raise UserError("bad")


def test_a_silent_process_is_named_and_this_one_ends_for_a_restart(ended):
    code, _, printed = ended("change = lambda other: None\nwith dog: work()")
    assert code == errors.PROCESS_GONE == 76
    assert printed.startswith(
        "process 1 (host H, pid 7) has not been heard from for "
    ) and printed.endswith(
        " s; it was at step 120, this one is at step 121; ending, so that a restart resumes"
    )


def test_where_talk_ends_process_0_is_named_as_it_hands_it_on(ended):
    program = """
distributed.num_processes, distributed.number = lambda: 3, lambda: 2
start = time.monotonic()
def tell(text):
    lives(other)
    if time.monotonic() > start + 0.5:  # when all are silent; process 1 fell silent just before
        return {}
    return {0: json.dumps(other | {"who": "(host G, pid 5)"}), 1: json.dumps(first), 2: text}
first = dict(other)
distributed.tell = tell
dog.set_times(stack_seconds=60.0, peer_seconds=1.5, hang_seconds=60.0)
with dog: work()
"""
    begun = time.monotonic()
    code, _, printed = ended(program)
    assert code == 76 and time.monotonic() - begun < watchdog.LINGER_SECONDS
    assert printed.startswith("process 0 (host G, pid 5) has not been heard from for ")
    assert "it was at step 120, this one is at step 121; ending" in printed


RAISES = """
from jax.errors import JaxRuntimeError
with dog:
    time.sleep(0.3)
    try:
        raise JaxRuntimeError("UNKNOWN: connection closed by peer")
    except JaxRuntimeError as error:
        raise UserError("not saved") from error
"""


def test_an_error_of_jax_is_the_loss_of_another_process_where_one_is_silent(ended):
    code, _, printed = ended("change = lambda other: None" + RAISES)
    assert code == 76
    assert printed.startswith("process 1 (host H, pid 7) has not been heard from for ")
    assert len(printed.splitlines()) == 1


def test_an_error_of_jax_is_this_process_s_own_where_all_others_live(ended):
    program = "from bigjax.processes import watchdog; watchdog.LINGER_SECONDS = 0.5\n" + RAISES
    code, _, printed = ended(program)
    assert code == 2
    assert "has not been heard from" not in printed and "UserError: not saved" in printed


def test_a_process_that_lives_is_left_alone_and_the_run_ends_well(ended):
    assert ended("with dog: work(1.2)\nprint('done')") == (0, "done\n", "")


def test_an_error_of_another_process_ends_this_one_with_its_code_and_message(ended):
    fails = "from bigjax.processes import watchdog; watchdog.LINGER_SECONDS = 0.5\n"
    fails += "def change(other): other['ended'], other['code'] = 'process 1 ended: bad row', 2\n"
    code, _, printed = ended(fails + "with dog: work()")
    assert (code, printed) == (2, "process 1 ended: bad row; ending")


def test_an_error_is_told_and_the_first_process_leaves_when_the_others_know_it(ended):
    program = """
told = []
def tell(text):
    told.append(json.loads(text))
    other["beat"] += 1
    other["leaving"] = told[-1]["leaving"] and sum(word["leaving"] for word in told) > 2
    return {0: text, 1: json.dumps(other)}
distributed.tell = tell
import atexit, os
os_exit = os._exit
def leave(code):
    print(code, told[-1]["code"], told[-1]["ended"].split(")")[1], other["leaving"])
    sys.stdout.flush()
    os_exit(code)
os._exit = leave
try:
    with dog:
        raise UserError("no such file")
except UserError:
    print("printed")
"""
    code, printed, _ = ended(program)
    assert code == 2
    assert printed == "printed\n2 2  ended with an error: no such file True\n"


def test_processes_talk_until_all_have_come_to_their_end_and_no_longer(ended):
    program = """
import atexit
told = []
def tell(text):
    told.append(text)
    lives(other)
    return {0: text, 1: json.dumps(other)}
def talks():
    before = len(told)
    time.sleep(0.6)
    return len(told) > before
distributed.tell = tell
distributed.meet_at_end = lambda: print("while they meet", talks())
atexit.register(lambda: print("after that", talks()))  # what is registered last runs first
with dog: pass
"""
    assert ended(program) == (0, "while they meet True\nafter that False\n", "")


def test_processes_that_stop_together_do_not_end_each_other(ended):
    program = "from bigjax.errors import Stopped\ntry:\n  with dog: raise Stopped('x')\n"
    assert ended(program + "except Stopped: time.sleep(1.0)")[0] == 0
    assert issubclass(Stopped, UserError)


def test_a_process_that_is_stuck_with_the_others_ends_and_names_the_one_behind(ended):
    program = "from bigjax.processes import watchdog; watchdog.LINGER_SECONDS = 0.5\n"
    program += "dog.set_times(stack_seconds=60.0, peer_seconds=0.5, hang_seconds=1.0)\n"
    program += "with dog:\n  for i in range(9): dog.progress(121)\n  time.sleep(20)"
    code, _, printed = ended(program)
    assert code == 76
    assert "at step 121; process 1 (host H, pid 7) is behind, at step 120; ending" in printed


def test_time_stands_still_where_the_process_does(ended):
    """An hour passes between any two looks, as if the machine slept: no silence of others."""
    program = """
import itertools, types
from bigjax.processes import watchdog
hours, beats = itertools.count(0, 3600.0), itertools.count()
watchdog.time = types.SimpleNamespace(monotonic=lambda: next(hours))
dog.set_times(stack_seconds=0.5, peer_seconds=5.0, hang_seconds=60.0)
def change(other):
    other["beat"] = next(beats) // 3
with dog: work(1.2)
print("done")
"""
    code, printed, _ = ended(program)
    assert (code, printed) == (0, "done\n")
