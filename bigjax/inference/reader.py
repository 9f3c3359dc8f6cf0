"""Owns inputs on their way from a file to the model: prepared by the task, counted, the broken ones
refused or left out, and those that were answered before passed over."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bigjax.errors import UserError
from bigjax.inference.inputs import Given


class Mark(NamedTuple):
    """Where inputs are.

    num: how many were read, broken ones among them. num_bad: how many were left out.
    num_read: bytes of input. digest: sha256 (hex) of all that was read.
    """

    num: int
    num_bad: int
    num_read: int
    digest: str


NOTHING = Mark(0, 0, 0, hashlib.sha256().hexdigest())


class Reader:
    """Prepared inputs, one after the other.

    bad: what was left out, in words; only counted in what was read by an earlier process.
    """

    def __init__(
        self,
        given: Iterator[Given],
        *,
        prepare: Callable[[Any], Any],
        skip_bad: bool,
        after: Mark = NOTHING,
    ):
        """
        Args:
          skip_bad: leave out what cannot be read or answered, where else it is an error.
          after: what was answered before.
        """
        self._given, self._prepare, self._skip_bad, self._after = given, prepare, skip_bad, after
        self._digest = hashlib.sha256()
        self._num = self._num_bad = self._num_read = 0
        self.bad: list[str] = []

    def __iter__(self) -> Iterator[Any]:
        """
        Raises:
          UserError: what was answered before was something else; an input that is broken.
        """
        for _ in range(self._after.num):
            self._count(next(self._given, Given(None, "", 0, "the end")))
        self._num_bad = self._after.num_bad
        if self._digest.hexdigest() != self._after.digest:
            raise UserError(
                f"the first {self._after.num:,} inputs are not those whose answers are written "
                "already; remove OUTPUT.part and OUTPUT.journal, or give another --output"
            )
        for one in self._given:
            self._count(one)
            problem = one.problem
            if not problem:
                try:
                    found = self._prepare(one.value)
                except UserError as error:
                    problem = str(error)
            if not problem:
                yield found
                continue
            line = problem if problem.startswith(one.place) else f"{one.place}: {problem}"
            if not self._skip_bad:
                raise UserError(f"{line}; --skip_bad leaves such inputs out")
            self._num_bad += 1
            self.bad.append(line)

    def mark(self) -> Mark:
        return Mark(self._num, self._num_bad, self._num_read, self._digest.hexdigest())

    def _count(self, one: Given) -> None:
        self._num += 1
        self._num_read = one.read
        self._digest.update(repr((one.value, one.problem)).encode("utf-8", "surrogatepass"))
