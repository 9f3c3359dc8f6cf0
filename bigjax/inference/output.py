"""Owns the file that answers are written to: it appears when it is whole, and what a killed
prediction had written is continued by the same command.

Beside OUT lie, until it is finished, OUT.part and OUT.journal: a line that says what the answers
are made by, and one after each piece of the inputs, of how many there were, what they were (a
running sha256) and how long OUT.part was then. A piece ends where the inputs say so, so the bytes
of a continued file are those of one that was never interrupted.
"""

import json
import os
from collections.abc import Mapping
from typing import IO, Any

from bigjax.errors import UserError
from bigjax.inference.reader import NOTHING, Mark


class Output:
    """A file of answers in the making; a context manager that leaves it as it is on any error.

    done: where the inputs were with what an interrupted prediction has written.

    Raises:
      UserError: it cannot be written, or what is there is of another prediction.
    """

    def __init__(self, path: str, *, made_by: Mapping[str, Any]):
        """made_by: what determines the answers, ready for JSON."""
        self._path, self._part, self._journal_path = path, f"{path}.part", f"{path}.journal"
        self.done: Mark = NOTHING
        self._num_bytes = 0
        head = json.dumps({"made_by": dict(made_by)}, sort_keys=True)
        try:
            lines = _lines(self._journal_path) if os.path.exists(self._part) else []
            if lines and lines[0] != head:
                raise UserError(
                    f"{self._part} is of another prediction ({_difference(lines[0], head)}); "
                    f"remove it with {self._journal_path}, or give another --output"
                )
            if len(lines) > 1:
                last = json.loads(lines[-1])
                self._num_bytes = last.pop("num_bytes")
                self.done = Mark(**last)
            self._file: IO[bytes] = open(self._part, "ab")  # noqa: SIM115
            self._file.truncate(self._num_bytes)
            self._journal: IO[str] = open(self._journal_path, "w", encoding="utf-8")  # noqa: SIM115
            self._journal.write("".join(f"{line}\n" for line in (lines or [head])))
            self._journal.flush()
        except OSError as error:
            raise UserError(f"--output={path}: cannot be written ({error.strerror})") from error

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._journal.close()

    def write(self, text: str, *, mark: Mark) -> None:
        """A piece of the output, and where the inputs were with it.

        Raises:
          UserError: the disk is full.
        """
        data = text.encode("utf-8", "backslashreplace")
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._num_bytes += len(data)
            line = {**mark._asdict(), "num_bytes": self._num_bytes}
            self._journal.write(json.dumps(line) + "\n")
            self._journal.flush()
        except OSError as error:
            raise UserError(
                f"--output={self._path}: cannot be written ({error.strerror}); what is written is "
                "kept, the same command continues it"
            ) from error

    def finish(self) -> None:
        """All is written: the file takes its name."""
        self._file.close()
        self._journal.close()
        os.replace(self._part, self._path)
        os.remove(self._journal_path)


def _lines(path: str) -> list[str]:
    """Whole lines; a killed process may leave half of one."""
    try:
        with open(path, encoding="utf-8") as file:
            return [line[:-1] for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def _difference(one: str, other: str) -> str:
    was, now = (json.loads(line)["made_by"] for line in (one, other))
    differ = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return ", ".join(differ) + (" differ" if len(differ) > 1 else " differs")
