"""Owns the exceptions that mean "the user can fix this", and the exit codes of the program.

`main.py` prints a `UserError` as one line and exits with code 2; every other exception is a bug of
ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable, Sequence

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: the same command resumes
PROCESS_GONE = 76  # the same


class UserError(ValueError):
    """Bad input: the message is one line that says what is wrong, where, what was expected and
    what to do. The program ends with `exit_code`."""

    exit_code = 2
    prefix = "error: "


class Stopped(UserError):
    """The run was asked to stop, and what it had done is saved."""

    exit_code = STOPPED
    prefix = ""


class ProcessGone(UserError):
    """Another process of the run is late, gone or out of step, so that a restart may help."""

    exit_code = PROCESS_GONE


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt `name`: the nearest valid one where there is a near one, else all."""
    valid = sorted(valid)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "valid: " + (", ".join(valid) or "none")


def first_of(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
