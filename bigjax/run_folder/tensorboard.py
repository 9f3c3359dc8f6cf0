"""Owns TensorBoard's event files: summaries and protocol buffers are tensorboardX's, which needs no
TensorFlow, and the file is ours.

tensorboardX's own writer hands events to a thread, which a full disk ends; the run would then wait
for ever for room in its queue. Here an event is with the system when it has been written.
"""

import logging
import os
import platform
import re
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

# tensorboardX imports PyTorch where that is installed, to know a tensor when it is given one: it is
# told that there is none.
_torch = sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
try:
    from tensorboardX import summary
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.record_writer import masked_crc32c
finally:
    if _torch is None:
        del sys.modules["torch"]

# A score may be nan, such as that of a class which dev has not; that is no news to anyone.
logging.getLogger("tensorboardX.x2num").setLevel(logging.ERROR)

NUM_BUCKETS = 30  # of a histogram, where nobody says; as CLU's writers


class TensorBoard:
    """An event file in `folder`, written to by the methods of CLU's writers. Raises OSError where
    the disk fails."""

    def __init__(self, folder: str, *, resume_at: int):
        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{platform.node()}.{os.getpid()}"
        self._file = open(os.path.join(folder, name), "ab")  # noqa: SIM115 - open as long as the run
        self._write(0, file_version="brain.Event:2")
        # TensorBoard hides what an interrupted run wrote from this step on.
        self._write(resume_at + 1, session_log=SessionLog(status=SessionLog.START))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        for name, value in scalars.items():
            self._write(step, summary=summary.scalar(name, float(value)))

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Texts are Markdown."""
        for name, value in texts.items():
            self._write(step, summary=summary.text(name, value))

    def write_histograms(
        self,
        step: int,
        arrays: Mapping[str, Any],
        num_buckets: Mapping[str, int] | None = None,
    ) -> None:
        for name, value in arrays.items():
            bins = (num_buckets or {}).get(name, NUM_BUCKETS)
            self._write(step, summary=summary.histogram(name, np.asarray(value), bins))

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Arrays uint8 or float in [0, 1], (N, H, W, C)."""
        for name, value in images.items():
            image = summary.image(name, np.asarray(value), dataformats="NHWC")
            self._write(step, summary=image)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        rows = [f"| {name} | {as_markdown(value)} |" for name, value in hparams.items()]
        self.write_texts(0, {"hparams": "\n".join(["| setting | value |", "|---|---|", *rows])})

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, step: int, **content: Any) -> None:
        """One record: its length, its data, and after each its checksum."""
        data = Event(wall_time=time.time(), step=int(step), **content).SerializeToString()
        size = struct.pack("<Q", len(data))
        self._file.write(size + _checksum(size) + data + _checksum(data))
        self._file.flush()


def as_markdown(value: Any) -> str:
    """Text that Markdown shows as `value` is, also in a table, where the rule `.*(bias|scale)`
    would end a cell: all but letters, digits, blanks, "." and "-" are character references."""
    return re.sub(r"[^\w .-]|_", lambda match: f"&#{ord(match[0])};", str(value))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
