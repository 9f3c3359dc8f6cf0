"""Owns processes that start warm: forked from a server that has imported everything and touched no
device, so that a process costs what it does and not the seconds of its imports.

A few tests start `python main.py` as a user does: they would find what this hides.
"""

import atexit
import importlib
import multiprocessing
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import jax

import bigjax

ROOT = Path(__file__).parents[1]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([__name__])  # the server imports this module
for _module in pkgutil.walk_packages(bigjax.__path__, "bigjax."):
    importlib.import_module(_module.name)


class Child:
    """As much of `subprocess.Popen` as tests use, of a process that is no child of this one."""

    def __init__(self, process: multiprocessing.Process):
        self._process, self.pid = process, process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    *arguments: str,
    output: Path,
    errors: Path | None = None,
    env: Mapping[str, str],
    program: str | None = None,
    cwd: Path = ROOT,
) -> Child:
    """Starts `python main.py *arguments`, or `python -c program *arguments`.

    output: the file that stdout is appended to, and stderr where there is no file for errors.
    env: the whole environment. Of the variables that JAX reads when it is imported, those that set
      an option of its config count too.
    """
    given = (arguments, program, str(output), str(errors or output), str(cwd), dict(env))
    process = _server.Process(target=_run, args=given, daemon=True)
    # Of the server, which the first call starts: where its modules are, and JAX as it is.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    plain["PYTHONPATH"] = os.pathsep.join([*sys.path, str(ROOT)])
    with mock.patch.dict(os.environ, plain, clear=True):
        process.start()
    return Child(process)


def _run(arguments, program, output, errors, cwd, env) -> None:
    """All there is of a forked process."""
    assert "jax" in sys.modules and not jax._src.xla_bridge.backends_are_initialized()
    for number, path in ((1, output), (2, errors)):
        with open(path, "ab") as file:
            os.dup2(file.fileno(), number)
    os.chdir(cwd)
    sys.path.insert(0, str(ROOT))
    os.environ.clear()
    os.environ.update(env)
    for name, text in env.items():
        if (option := name.lower()) in jax.config.values:
            kind = type(jax.config.values[option])
            read = {bool: lambda x: x.lower() in ("1", "true"), int: int, float: float}
            jax.config.update(option, read.get(kind, str)(text))
    code = 0
    try:
        sys.argv = [str(ROOT / "main.py") if program is None else "-c", *arguments]
        if program is None:
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    # As an interpreter ends, which multiprocessing does by halves.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
