"""Owns what is computed together: inputs of requests that wait at the same time share a call of the
device, and no more wait than there is room for.

Nobody waits for others to come: what arrives while the device is busy is the next batch.
"""

import collections
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

Answer = Callable[[list[Any]], list[Any]]


class Full(Exception):
    """As many inputs wait as may, or no more are taken."""


class Late(Exception):
    """Its time was up before it was its turn."""


class _Waiting(NamedTuple):
    inputs: Sequence[Any]
    until: float
    found: "Future[list[Any]]"


class Batcher:
    """A thread that answers what is submitted, in order.

    Args:
      answer: inputs -> an answer for each.
      most_waiting: inputs that may wait. most_together: inputs of one call, unless one request has
        more.
      seen: called with the number of inputs of each call.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        most_waiting: int,
        most_together: int,
        seen: Callable[[int], None] = lambda num: None,  # noqa: ARG005
    ):
        self._answer, self._seen = answer, seen
        self._most_waiting, self._most_together = most_waiting, most_together
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._num_waiting, self._open = 0, True
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        return self._num_waiting

    def submit(self, inputs: Sequence[Any], *, seconds: float) -> "Future[list[Any]]":
        """The answers to come, or `Late` after so many seconds; `Full` where there is no room."""
        found: Future[list[Any]] = Future()
        with self._changed:
            if not self._open:
                raise Full("the service is ending")
            if self._num_waiting and self._num_waiting + len(inputs) > self._most_waiting:
                raise Full(f"{self._num_waiting} inputs wait already")
            self._num_waiting += len(inputs)
            self._queue.append(_Waiting(inputs, time.monotonic() + seconds, found))
            self._changed.notify()
        return found

    def close(self) -> None:
        """Takes no more, answers what waits, and ends."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            alive = [one for one in batch if self._is_asked_for(one)]
            if alive:
                self._compute(alive)

    def _take(self) -> list[_Waiting]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or not self._open)
            batch, num = [], 0
            while self._queue and (
                not batch or num + len(self._queue[0].inputs) <= self._most_together
            ):
                batch.append(self._queue.popleft())
                num += len(batch[-1].inputs)
            self._num_waiting -= num
            return batch

    def _is_asked_for(self, one: _Waiting) -> bool:
        if not one.found.set_running_or_notify_cancel():
            return False
        if time.monotonic() > one.until:
            one.found.set_exception(Late())
            return False
        return True

    def _compute(self, batch: list[_Waiting]) -> None:
        try:
            inputs = [given for one in batch for given in one.inputs]
            self._seen(len(inputs))
            answers = iter(self._answer(inputs))
            for one in batch:
                one.found.set_result([next(answers) for _ in one.inputs])
        except Exception as error:  # whose fault it is shows when each is alone
            if len(batch) == 1:
                batch[0].found.set_exception(error)
                return
            for one in batch:
                if not one.found.done():
                    self._compute([one])
