"""Owns `--mode=serve`: a trained model as a small HTTP service."""

import functools
import importlib.metadata
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from bigjax.engine.scorer import build_scorer
from bigjax.errors import UserError
from bigjax.inference import opening
from bigjax.inference.predictor import Piece, Predictor, load, pieces
from bigjax.serve.bodies import Limits
from bigjax.tasks.task import Observed

MOST_TOGETHER = 64  # inputs of one call of the device
SPLIT = "dev"


class Asked(NamedTuple):
    """The flags. most_waiting: inputs that may wait. drain_seconds: that requests get to end in."""

    host: str = "127.0.0.1"
    port: int = 8000
    most_waiting: int = 256
    limits: Limits = Limits()
    drain_seconds: int = 25


def serve(workdir: str, *, asked: Asked, overrides: Mapping[str, str]) -> None:
    """Serves the model until SIGTERM or SIGINT, and then answers what has come.

    Raises:
      UserError: the extra `serve` is not installed, no model, or an address that is not free.
    """
    try:
        import uvicorn

        from bigjax.serve import app
        from bigjax.serve.batching import Batcher
        from bigjax.serve.monitor import Monitor
    except ImportError as error:
        raise UserError(f"--mode=serve needs pip install 'bigjax[serve]' ({error})") from None

    taken = _socket(asked)  # before a model is loaded
    predictor = load(workdir, overrides=overrides)
    monitor = Monitor(waiting=lambda: batcher.num_waiting)
    batcher = Batcher(
        functools.partial(_answers, predictor),
        most_waiting=asked.most_waiting,
        most_together=MOST_TOGETHER,
        seen=monitor.batch,
    )
    state = _State()
    service = app.Service(
        predictor.task.use,
        batcher,
        monitor,
        asked.limits,
        state.takes_requests,
        importlib.metadata.version("bigjax"),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app.make(service),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=asked.drain_seconds,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: state.end(server))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, name="server")
    thread.start()  # it lives from here on, and is ready when what requests need is compiled
    try:
        expected = _dev(predictor, workdir=workdir, overrides=overrides)
        if expected is not None:
            monitor.expect(expected)
        _warm_up(predictor)
        state.ready.set()
        if state.takes_requests():
            _say_where(taken, workdir)
        thread.join()
    finally:
        state.end(server)
        thread.join()
        batcher.close()
    print("ended; every request that was taken is answered", flush=True)


class _State:
    """Whether requests are taken: not before it is ready, and not when it is ending."""

    def __init__(self) -> None:
        self.ready, self.ending = threading.Event(), threading.Event()

    def takes_requests(self) -> bool:
        return self.ready.is_set() and not self.ending.is_set()

    def end(self, server: Any) -> None:
        self.ending.set()
        server.should_exit = True


def _answers(predictor: Predictor, inputs: list[Any]) -> list[Any]:
    found = predictor.answer(iter([Piece(inputs, None)]))
    return [one for _, answers in found for one in answers]


def _say_where(taken: socket.socket, workdir: str) -> None:
    host, port = taken.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    print(
        f"serving {workdir} on http://{host}:{port}; authentication and TLS are a proxy's",
        flush=True,
    )


def _socket(asked: Asked) -> socket.socket:
    family = socket.AF_INET6 if ":" in asked.host else socket.AF_INET
    try:
        return socket.create_server((asked.host, asked.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--host={asked.host} --port={asked.port}: cannot be listened at ({reason}); give "
            "another --port, or 0 for any that is free"
        ) from error


def _warm_up(predictor: Predictor) -> None:
    """Compiles what requests will need: one row and more, short and long."""
    if predictor.task.use.takes != "text":
        return
    for num_words in (2, 20):
        predictor("a " * num_words)
    num = 1
    while num <= MOST_TOGETHER:
        predictor([["a"] * 50] * num)
        num *= 2


def _dev(
    predictor: Predictor, *, workdir: str, overrides: Mapping[str, str]
) -> dict[str, Any] | None:
    """What was seen on dev, from the run folder; where it is not there yet it is made."""
    from bigjax.serve import monitor

    if not opening.is_run(workdir) or predictor.task.use.observe is None:
        return None
    kept = monitor.read(workdir, identity=predictor.identity)
    if kept is not None:
        return kept
    try:
        opened = opening.open_trained(workdir, overrides=overrides)
        task = build_scorer(opened.config, folder=workdir, splits=(SPLIT,)).task
        given = task.use.given(SPLIT) if task.use.given is not None else ()
        if not given:
            return None
        observed: list[Observed] = []
        prepared = map(predictor.task.use.prepare, given)
        for piece, answers in predictor.answer(pieces(prepared, takes=task.use.takes)):
            observed.append(predictor.task.use.observe(piece.inputs, answers))
    except UserError as error:
        print(f"note: nothing of {SPLIT} to compare with: {error}", file=sys.stderr, flush=True)
        return None
    found = {"model": predictor.identity, **monitor.summary(observed)}
    path = os.path.join(workdir, monitor.FILE)
    try:
        monitor.write(workdir, found)
        print(f"kept what {SPLIT} looks like in {path}", flush=True)
    except OSError as error:  # a folder that is mounted to be read
        print(f"note: {path} cannot be written ({error.strerror})", file=sys.stderr, flush=True)
    return found
