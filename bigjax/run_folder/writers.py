"""Owns where a run's numbers go: `metrics.jsonl`, the terminal, and several writers as one; event
files belong to `tensorboard.py`.

The writers have the interface of CLU's `metric_writers.MetricWriter`, and any CLU writer can stand
beside them; CLU itself is imported only where it is asked for, because it imports TensorFlow.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TextIO

from bigjax.errors import UserError

Scalars = Mapping[str, Any]

LOSS = MappingProxyType({"loss": "loss"})
_RATE = "_per_second"


class JsonLines:
    """One object a line: `step` and the scalars; nan and infinity are null."""

    def __init__(self, path: str, *, resume_at: int):
        """Goes on with the file at `path`: lines past step `resume_at` are those of a run that is
        about to be repeated, and a line cut off by a crash is no line; both go."""
        self._file, kept = go_on_with(path, step=resume_at)
        self._kept = set(kept)

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        numbers = {name: float(value) for name, value in scalars.items()}
        finite = {name: x if math.isfinite(x) else None for name, x in numbers.items()}
        line = json.dumps({"step": int(step)} | finite) + "\n"
        if line not in self._kept:  # a finished run that is run again scores itself again
            self._file.write(line)
            self._file.flush()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Terminal:
    """A progress bar with the time left where stderr is a terminal, plain lines elsewhere."""

    def __init__(self, *, start: int, total_steps: int, labels: Mapping[str, str] = LOSS):
        """labels: what a line shows of the scalars of a group, in this order, and what it calls
        each; behind them comes what is counted by the second, but for FLOPs."""
        from tqdm import tqdm

        self._labels = labels
        self._total, self._start, self._began = total_steps, start, time.monotonic()
        self._bar = tqdm(
            total=total_steps,
            initial=start,
            disable=not sys.stderr.isatty(),
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
        )

    def advance(self, step: int) -> None:
        self._bar.update(step - self._bar.n)

    def say(self, line: str) -> None:
        """A line of its own, above the bar where there is one."""
        if self._bar.disable:
            print(line, flush=True)
        else:
            self._bar.write(line)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:  # noqa: ARG002
        for text in texts.values():
            self.say(text)

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        groups = dict.fromkeys(name.rpartition("/")[0] for name in scalars)
        for group in groups:
            parts = self._parts({k: v for k, v in scalars.items() if k.startswith(f"{group}/")})
            if group == "train" and not self._bar.disable:
                self._bar.set_postfix_str(", ".join(parts[:3]), refresh=False)
                continue
            left = [f"{self._time_left(step)} left"] if group == "train" else []
            place = f"step {step:>{len(str(self._total))}}/{self._total}"
            self.say("  ".join([place, f"{group:<5}", *parts, *left]))

    def flush(self) -> None:
        sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()

    def _parts(self, scalars: Scalars) -> list[str]:
        found = {name.rpartition("/")[2]: float(value) for name, value in scalars.items()}
        shown = [f"{self._labels[k]} {found[k]:.4f}" for k in self._labels if k in found]
        rates = [k for k in found if k.endswith(_RATE) and k != f"flops{_RATE}"]
        return shown + [f"{name.removesuffix(_RATE)}/s {found[name]:.0f}" for name in rates]

    def _time_left(self, step: int) -> str:
        done = max(1, step - self._start)
        seconds = (time.monotonic() - self._began) / done * (self._total - step)
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


class Writers:
    """Several writers as one; a kind of data that a writer has no method for passes it by."""

    def __init__(self, writers: Sequence[Any]):
        self._writers = list(writers)

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        self._each("write_scalars", step, scalars)

    def write_summaries(self, step: int, values: Any, metadata: Any = None) -> None:
        self._each("write_summaries", step, values, metadata)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        self._each("write_images", step, images)

    def write_videos(self, step: int, videos: Mapping[str, Any]) -> None:
        self._each("write_videos", step, videos)

    def write_audios(self, step: int, audios: Mapping[str, Any], *, sample_rate: int) -> None:
        self._each("write_audios", step, audios, sample_rate=sample_rate)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        self._each("write_texts", step, texts)

    def write_histograms(
        self,
        step: int,
        arrays: Mapping[str, Any],
        num_buckets: Mapping[str, int] | None = None,
    ) -> None:
        self._each("write_histograms", step, arrays, num_buckets)

    def write_pointcloud(self, step: int, point_clouds: Any, **kinds: Any) -> None:
        self._each("write_pointcloud", step, point_clouds, **kinds)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        self._each("write_hparams", hparams)

    def advance(self, step: int) -> None:
        """`step` updates are done; not of CLU's interface."""
        self._each("advance", step)

    def flush(self) -> None:
        self._each("flush")

    def close(self) -> None:
        """All of them, also where one cannot write what it still holds."""
        with contextlib.ExitStack() as closing:
            for writer in self._writers:
                closing.callback(writer.close)

    def _each(self, method: str, *args: Any, **kwargs: Any) -> None:
        for writer in self._writers:
            if hasattr(writer, method):
                getattr(writer, method)(*args, **kwargs)


def clu_writer(folder: str) -> Any:
    """CLU's default writer: event files in `folder`, written by TensorFlow, and lines of absl's log
    at level info. A resumed run adds a file; what an interrupted one wrote stays in its own.

    Raises:
      UserError: CLU, or TensorFlow or TensorBoard, which its writers import, is not installed.
    """
    try:
        import tensorflow
        from clu import metric_writers
    except ModuleNotFoundError as error:
        missing = f"log.clu=True needs the package {error.name!r}"
        raise UserError(f"{missing}: pip install 'bigjax[clu]'") from error
    tensorflow.config.set_visible_devices([], "GPU")  # else it takes the memory of all of them
    # In the thread of the run, where an error stops it at the step that it belongs to.
    return metric_writers.create_default_writer(folder, asynchronous=False)


def go_on_with(path: str, *, step: int) -> tuple[TextIO, list[str]]:
    """The file of JSON objects at `path`, open for more of them, and the lines it keeps: those of
    `lines_up_to`. The others are gone from it."""
    kept = lines_up_to(path, step=step)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.writelines(kept)
    os.replace(path + ".tmp", path)
    return open(path, "a", encoding="utf-8"), kept  # noqa: SIM115 - open as long as the run


def lines_up_to(path: str, *, step: int) -> list[str]:
    """The whole lines of a file of JSON objects whose `step` is not above `step`; what a crash cut
    off or a disk garbled is left out."""
    if not os.path.exists(path):
        return []
    kept = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                if line.endswith("\n") and json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue
    return kept
