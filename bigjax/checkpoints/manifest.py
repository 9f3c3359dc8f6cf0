"""Owns `checkpoint.json`, which says what a checkpoint is: its fields, writing it so that it is
there whole or not at all, and reading it so that no changed byte goes unseen. The arrays and files
that it lists belong to `checkpoint.py`."""

import errno
import hashlib
import json
import os
from typing import Any, NamedTuple

from bigjax.errors import UserError
from bigjax.models import origins

NAME = origins.CHECKPOINT
FORMAT = 1

Facts = dict[str, Any]


class DamagedCheckpoint(UserError):
    """A checkpoint that is not what was saved. problem: what of it is not, by name."""

    def __init__(self, folder: str, *, problem: str):
        parent, step = os.path.split(os.path.abspath(folder))
        super().__init__(
            f"checkpoint {step} in {parent} is damaged: {problem}; use another checkpoint, or put "
            "this one back from a copy"
        )
        self.problem = problem


class Manifest(NamedTuple):
    """step: the number of updates done.
    facts: what is known of the run so far; JSON.
    score: what "best" compares, higher is better; None: never the best.
    arrays: dtype, shape and content hash of each leaf of the state, by its name.
    files: size and SHA-256 of each file, by its path in the checkpoint's folder.
    """

    step: int
    facts: Facts
    score: float | None
    arrays: dict[str, tuple[str, tuple[int, ...], str]]
    files: dict[str, tuple[int, str]]


def write(folder: str, *, manifest: Manifest) -> None:
    """Puts it in the place of the one before, if any, in one step, and on the disk."""
    path = os.path.join(folder, NAME)
    with open(path + ".partial", "wb") as file:
        file.write(_encoded(manifest._asdict() | {"format": FORMAT}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".partial", path)
    flush(folder)


def read(folder: str) -> Manifest:
    """Raises DamagedCheckpoint where a byte of it has changed or it is not there, and UserError
    where the checkpoint is of another format, there is none, or it may not be read."""
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such checkpoint; give the folder of one")
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            content = file.read()
    except FileNotFoundError:
        if os.path.exists(os.path.join(folder, "_CHECKPOINT_METADATA")):
            raise UserError(
                f"{folder}: an old checkpoint, made before {NAME} was kept, which cannot be "
                "verified; resume with the version of bigjax that made it, or train in another "
                "--workdir"
            ) from None
        raise DamagedCheckpoint(folder, problem=f"{NAME} is missing") from None
    except OSError as error:
        if error.errno == errno.EIO:
            problem = f"{NAME} cannot be read ({error.strerror})"
            raise DamagedCheckpoint(folder, problem=problem) from error
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); fix that and run the same "
            "command again"
        ) from error
    try:
        record = json.loads(content)
        record.pop("sha256")
        # Compared as bytes: so a change that means nothing, such as of a space, is seen as well.
        changed = _encoded(record) != content
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        changed = True
    if changed:
        raise DamagedCheckpoint(folder, problem=f"{NAME} has other bytes than were saved")
    if record.pop("format") != FORMAT:
        raise UserError(
            f"{folder}: of a newer format than this version of bigjax reads ({FORMAT}); use the "
            "version that made it, or another --workdir"
        )
    record["arrays"] = {k: (d, tuple(s), h) for k, (d, s, h) in record["arrays"].items()}
    record["files"] = {k: (size, digest) for k, (size, digest) in record["files"].items()}
    return Manifest(**record)


def steps(folder: str) -> list[int]:
    """The steps of the whole checkpoints in `folder`, ascending; [] where there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if name.isdecimal())


def flush(path: str) -> None:
    """Waits until a file or the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems have nothing to flush for a folder, and say so in this way.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _encoded(record: dict[str, Any]) -> bytes:
    """The record with its own hash, in the one form that is ever written."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    text = json.dumps(record | {"sha256": digest}, sort_keys=True, indent=1)
    return (text + "\n").encode()
