"""Owns noticing that a run is stuck: no step finishes, or another process of the run has
died, hangs or has failed. How processes talk to each other belongs to `distributed.py`.

A process that fails alone would leave the others waiting for it, so it tells them, and they end
with its exit code. That one has fallen silent they find out by themselves. An error of JAX may be
but the loss of another process, so a process that has one first hears whether the others live.
"""

import atexit
import faulthandler
import json
import os
import platform
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from jax.errors import JaxRuntimeError

from bigjax.errors import PROCESS_GONE, Stopped
from bigjax.processes import distributed

LINGER_SECONDS = 10.0  # in which the other processes hear of an error

# What a process tells: who, beat, moves, step, ended (None or why), code, leaving (all that is left
# to do is to end).
Word = dict[str, Any]


class Watchdog:
    """Watches from `with` on; what it has to say goes to stderr. A process of several watches until
    it is gone, as processes wait for each other even at their end."""

    def __init__(self) -> None:
        self.set_times(stack_seconds=600.0, peer_seconds=60.0, hang_seconds=1800.0)
        self._step: int | None = None
        self._moves = 0
        self._ended: tuple[str, int] | None = None  # why, and the exit code
        self._words: dict[int, Word] = {}
        self._lost: set[int] = set()  # processes that are silent
        self._leaving = False
        self._over, self._wake, self._known = (threading.Event() for _ in range(3))

    def set_times(self, *, stack_seconds: float, peer_seconds: float, hang_seconds: float) -> None:
        """The settings of the section `watchdog`."""
        self._stack_seconds, self._peer_seconds = stack_seconds, peer_seconds
        self._hang_seconds = hang_seconds
        self._tick = min(2.0, peer_seconds / 5, stack_seconds / 5)

    def progress(self, step: int) -> None:
        """Says that something was done at `step`: an update, or a batch of evaluation."""
        self._step, self._moves = step, self._moves + 1

    def __enter__(self) -> Self:
        self._several = distributed.num_processes() > 1
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        if self._several:
            self._talker = threading.Thread(target=self._talk, name="watchdog talk", daemon=True)
            self._talker.start()
            atexit.register(self._leave)  # runs before JAX's own, which waits for all processes
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._several:
            self._over.set()
        elif error is not None and not isinstance(error, Stopped):  # they stop together
            if _is_of_jax(error):
                self._hear_all()
            what = str(error) or type(error).__name__
            why = f"process {distributed.number()} {_who()} ended with an error: {what}"
            self._ended = why, getattr(error, "exit_code", 1)
            self._wake.set()
            late = threading.Timer(LINGER_SECONDS, self._leave)  # if the end of Python takes longer
            late.daemon = True
            late.start()

    def _hear_all(self) -> None:
        """Returns when all other processes have been heard from. The watch ends this one where one
        has failed or is not heard from."""
        others = set(range(distributed.num_processes())) - {distributed.number()}
        first = dict(self._words)
        for number in others:
            # The word after next: the next may have been on its way before the error.
            while _beat(self._words, number) < _beat(first, number) + 2:
                time.sleep(self._tick)

    def _watch(self) -> None:
        """Counts what passes between two looks, so that time stands still where this process does,
        with its machine or alone. Clocks of hosts are never compared."""
        idle, moves, is_shown = 0.0, self._moves, False
        heard: dict[int, tuple[Word | None, float]] = {}  # last word, and for how long
        then = time.monotonic()
        while not self._over.wait(self._tick):
            now = time.monotonic()
            passed, then = min(now - then, 2 * self._tick), now
            idle = idle + passed if moves == self._moves else 0.0
            moves, is_shown = self._moves, is_shown and idle > 0
            stands = f"nothing was done for {idle:.0f} s {_at(self._step)}{self._behind()}"
            if idle >= self._stack_seconds and not is_shown:
                is_shown = True
                _say(f"{stands}; what each thread does:")
                faulthandler.dump_traceback(sys.stderr)
            if not self._several or self._ended is not None:
                continue
            for number in range(distributed.num_processes()):
                word, (last, silent) = self._words.get(number), heard.get(number, (None, 0.0))
                heard[number] = word, silent + passed if word == last else 0.0
            if idle >= self._hang_seconds and self._step is not None:
                self._end(stands, code=PROCESS_GONE)
            self._judge(heard)

    def _judge(self, heard: dict[int, tuple[Word | None, float]]) -> None:
        """Ends this process where another one has failed or fallen silent."""
        for word, _ in heard.values():
            if word is not None and word["ended"] is not None:
                self._end(word["ended"], code=word["code"])
        me = distributed.number()
        # Who does not hear even itself learns nothing of the others: process 0 hands that on.
        suspects = {0} if me > 0 and heard[me][1] >= self._peer_seconds / 2 else set(heard)
        for number in suspects - {me}:
            word, silent = heard[number]
            if silent >= self._peer_seconds:
                who = f" {word['who']}" if word else ""
                was = _at(word["step"] if word else None)
                self._lost.add(number)
                self._end(
                    f"process {number}{who} has not been heard from for {silent:.0f} s; it was "
                    f"{was}, this one is {_at(self._step)}",
                    code=PROCESS_GONE,
                )

    def _behind(self) -> str:
        """Names the process that has done least, if another one: all may be waiting for it."""
        words = self._words
        last = min(words, key=lambda number: words[number]["moves"], default=None)
        if last is None or words[last]["moves"] >= self._moves:
            return ""
        return f"; process {last} {words[last]['who']} is behind, {_at(words[last]['step'])}"

    def _end(self, message: str, *, code: int) -> None:
        resumes = ", so that a restart resumes" if code == PROCESS_GONE else ""
        _say(f"{message}; ending{resumes}")
        self._ended = message, code
        self._leave()

    def _leave(self) -> None:
        """Ends the process, if there is a reason to, as soon as the others know it, and without
        waiting for them to end too. Only the first one does that: it serves their talk. Without a
        reason they talk until all have come to their end, and no longer: a thread that is in JAX
        when Python ends aborts the process."""
        if self._ended is None:
            distributed.meet_at_end()
            self._over.set()
            self._wake.set()
            self._talker.join(LINGER_SECONDS)
            return
        self._leaving = True
        self._wake.set()
        if 0 not in self._lost:  # it hands on what is told
            self._known.wait(LINGER_SECONDS)
        if distributed.number() == 0:
            time.sleep(0.5)  # from the last word of the others to their end
        sys.stdout.flush()
        os._exit(self._ended[1])

    def _talk(self) -> None:
        beat = 0
        while not self._over.is_set():
            beat += 1
            leaving = self._leaving  # before `_ended`, which is set before it
            ended, code = self._ended or (None, 0)
            word = {"who": _who(), "beat": beat, "moves": self._moves, "step": self._step}
            word |= {"ended": ended, "code": code, "leaving": leaving}
            told = distributed.tell(json.dumps(word))
            self._words = self._words | {n: json.loads(text) for n, text in told.items()}
            if leaving and (distributed.number() > 0 or self._others_leave()):
                self._known.set()
            self._wake.wait(self._tick)
            self._wake.clear()

    def _others_leave(self) -> bool:
        others = set(range(1, distributed.num_processes())) - self._lost
        return all(n in self._words and self._words[n]["leaving"] for n in others)


def _is_of_jax(error: BaseException | None) -> bool:
    """Whether it is one, or was raised because of one."""
    while error is not None and not isinstance(error, JaxRuntimeError):
        error = error.__cause__ or error.__context__
    return error is not None


def _beat(words: dict[int, Word], number: int) -> int:
    return words[number]["beat"] if number in words else 0


def _who() -> str:
    return f"(host {platform.node()}, pid {os.getpid()})"


def _at(step: int | None) -> str:
    return "before its first step" if step is None else f"at step {step}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
