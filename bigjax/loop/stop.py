"""Owns the signals that ask a run to stop: SIGTERM (preemption, SLURM, Kubernetes) and SIGINT.

What is saved then belongs to the loop. A thread reads the signals from a pipe, so that a second one
ends the process at once even while the main thread is inside XLA.
"""

import os
import signal
import sys
import threading
import time
from types import TracebackType
from typing import Self

import jax
from jax.experimental import multihost_utils

from bigjax.errors import STOPPED, Stopped


class StopRequest:
    """Listens from `with` on. Before `loop_begins()` there is nothing to save and a signal ends the
    process at once; after it the first sets `at`, for the loop to see, and a second ends it.

    Where a run has several processes JAX listens to SIGTERM and agrees on a step with the others.
    """

    def __init__(self) -> None:
        self.at: float | None = None  # time.monotonic() of the first signal
        self._has_state = False
        self._num_asked = 0  # how often steps have asked
        self._old: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        in_main_thread = threading.current_thread() is threading.main_thread()  # Python's condition
        if in_main_thread and jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, lambda *_: None)
            self._old_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._old:
            signal.set_wakeup_fd(self._old_fd)
            for number, handler in self._old.items():
                signal.signal(number, handler)
        os.close(self._writer)  # ends the thread

    def loop_begins(self) -> None:
        self._has_state = True

    def check(self, step: int | None = None) -> None:
        """Raises Stopped where a stop is asked for. Several processes agree at steps alone, which
        all of them must ask at; JAX wants them numbered without a gap."""
        if jax.process_count() > 1 and step is not None:
            self._num_asked += 1
            if multihost_utils.reached_preemption_sync_point(self._num_asked):
                self.at = time.monotonic()
        if self.at is not None:
            raise Stopped("stopped; training is saved, and the same command makes the scores")

    def stopped(self, step: int) -> Stopped:
        """The error to end with when the state of `step` is on the disk."""
        assert self.at is not None
        seconds = time.monotonic() - self.at
        return Stopped(
            f"stopped at step {step}, saved {seconds:.1f} s after the signal; the same command "
            "resumes from there"
        )

    def _listen(self) -> None:
        with os.fdopen(self._reader, "rb", buffering=0) as pipe:
            while found := pipe.read(1):
                name = signal.Signals(found[0]).name
                if self.at is None and self._has_state:
                    self.at = time.monotonic()
                    _say(f"{name}: finishing the step and saving; a second signal ends at once")
                    continue
                lost = "" if self.at is None else " without saving; the last checkpoint is intact"
                _say(f"{name}: ended{lost}; the same command resumes")
                os._exit(STOPPED)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
