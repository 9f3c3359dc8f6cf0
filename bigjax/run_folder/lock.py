"""Owns the lock that keeps a second process out of a run's folder. Which processes take it belongs
to the caller: of a run over several processes the first one alone."""

import contextlib
import errno
import fcntl
import os
import platform
import time
from typing import Self

from bigjax.errors import UserError

NAME = ".lock"
# What a file system without locks answers.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


class InUse(UserError):
    """Another process holds the lock."""


class Lock:
    """A context in which this process alone may write to `workdir`, or do what `name` stands for.

    The kernel holds the lock (flock), and drops it when the process ends, in whatever way: that of
    a dead process is no obstacle. The file stays behind and means nothing by itself.

    Raises:
      InUse: another process holds it; the message says which.
    """

    def __init__(self, workdir: str, *, name: str = NAME):
        self._workdir, self._name = workdir, name
        self._file: int | None = None

    def __enter__(self) -> Self:
        path = os.path.join(self._workdir, self._name)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"--workdir={self._workdir}: cannot be written to ({error.strerror}); give a "
                "folder of yours"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                print(
                    f"--workdir={self._workdir}: its file system has no locks ({error.strerror}); "
                    "going on: see to it that no second run uses it",
                    flush=True,
                )
                return self
            holder = os.pread(self._file, 1000, 0).decode(errors="replace").strip()
            self._close()
            raise InUse(
                f"--workdir={self._workdir} is in use by {holder or 'another process'}; wait for "
                "it to end, or use another --workdir"
            ) from error
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        holder = f"process {os.getpid()} on {platform.node()} since {since}\n"
        with contextlib.suppress(OSError):  # a full disk: only the message of a second run suffers
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, holder.encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        assert self._file is not None
        os.close(self._file)
        self._file = None


class Turn:
    """A context that waits until no other process is in it. The kernel holds the lock, as above; on
    a file system without locks nothing waits."""

    def __init__(self, path: str):
        self._path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def release(self) -> None:
        assert self._file is not None
        os.close(self._file)
        self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
