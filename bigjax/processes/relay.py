"""Owns the program that stands between a process and process 0 of its run, as a process of its own:
`python relay.py HOST PORT` prints the port it listens on. It imports nothing but Python.

It hands on what it is sent, both ways. Where the far end is gone, the near one finds the connection
open and silent. It ends with the process that started it, and not by a signal to all processes of a
machine: that one still has to save.
"""

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def main(host: str, port: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    _start(_serve, listener, (host, port))
    sys.stdin.read()  # ends when the process at the other end of this pipe does


def _serve(listener: socket.socket, address: tuple[str, int]) -> None:
    while True:
        _start(_link, listener.accept()[0], address)


def _link(near: socket.socket, address: tuple[str, int]) -> None:
    far = _connect(address)
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _start(_pump, far, near)
    _pump(near, far)
    for end in (near, far):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def _connect(address: tuple[str, int]) -> socket.socket:
    while True:
        try:
            return socket.create_connection(address)
        except OSError:  # not yet there
            time.sleep(0.2)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """What is sent to a target that is gone is lost, and its source does not hear of it."""
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            with contextlib.suppress(OSError):
                target.sendall(data)


def _start(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
