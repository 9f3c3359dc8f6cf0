"""Owns a trained model in use: inputs in, answers out, in order, a piece of the inputs at a time.

Files belong to `inputs.py` and `output.py`; what an input and an answer are, to the task's `Use`.
"""

import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from bigjax.config.values import Config
from bigjax.data.dataset import Dataset
from bigjax.data.pipeline import Prefetch
from bigjax.engine.scorer import build_scorer, make_apply
from bigjax.engine.sharding import global_batch, put_batch
from bigjax.errors import UserError
from bigjax.inference.opening import open_trained, variables_of
from bigjax.run_folder import calibration
from bigjax.tasks.task import Encoded, Outputs, Task, told_apart
from bigjax.trees import leaf_names

# A piece is computed at once: as many inputs as fill rows well, few enough to be kept in memory.
# Where one ends depends on the inputs alone, so answers do not depend on how they arrive.
_PIECE_INPUTS = {"text": 1024, "row": 4096, "image": 64}
_PIECE_SIZE = 2**17  # characters
# On a CPU, rows that are computed at once, whose activations stay in the cache, and how many such
# batches are.
_CPU_BATCHES = 3
_CPU_ROWS = {"text": 16, "row": 1024, "image": 32}


class Piece(NamedTuple):
    """Prepared inputs that are computed at once. mark: what the caller wants to know of where the
    inputs were when the last of them was read."""

    inputs: list[Any]
    mark: Any


def pieces(
    prepared: Iterable[Any], *, takes: str, mark: Callable[[], Any] = lambda: None
) -> Iterator[Piece]:
    """Prepared inputs as pieces; the last may have none."""
    inputs: list[Any] = []
    size = 0
    for one in prepared:
        inputs.append(one)
        size += len(one) if takes == "text" else 0
        if len(inputs) == _PIECE_INPUTS[takes] or size >= _PIECE_SIZE:
            yield Piece(inputs, mark())
            inputs, size = [], 0
    yield Piece(inputs, mark())


class Member(NamedTuple):
    """One of the models whose probabilities are averaged; mostly there is one.

    apply: jitted (variables, frozen, batch) -> outputs.
    calibration: what its probabilities are corrected by, of its run (`Calibrating`); None: nothing.
    """

    apply: Callable[..., Any]
    variables: Any
    frozen: Any
    calibration: Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """A trained model: call it with inputs. Any number of threads may.

    task: what it does; `task.use` says what an input is.
    name: where it comes from. config: its settings.
    """

    task: Task
    name: str
    config: Config
    members: tuple[Member, ...]
    mesh: Mesh

    def __call__(self, inputs: Any) -> Any:
        """The answer to one input; a list of answers to a list or tuple of inputs, in order; or, of
        any other iterable, an iterator over answers, which takes inputs as it goes on.

        An input is what the task takes: a text or a list of words; the path or the bytes of an
        image file, a Pillow image or an array; a dict of columns. An answer is a dict.

        Raises:
          UserError: an input that cannot be answered; says which.
        """
        if _is_one(inputs):
            return self([inputs])[0]
        numbered = (self._prepared(i, given) for i, given in enumerate(inputs, 1))
        answered = self.answer(pieces(numbered, takes=self.task.use.takes))
        answers = itertools.chain.from_iterable(answers for _, answers in answered)
        return list(answers) if isinstance(inputs, Sequence) else answers

    def answer(self, pieces: Iterator[Piece]) -> Iterator[tuple[Piece, list[dict[str, Any]]]]:
        """Pieces and the answers to their inputs; the next ones are read and encoded meanwhile."""
        first, second = next(pieces, None), next(pieces, None)
        if first is None:
            return
        if second is None:  # no thread for what is mostly a single text
            encoded = self._encode(first)
            yield first, self._decode(encoded, self._start(encoded))
            return
        ahead = Prefetch(
            lambda piece: (piece, self._encode(piece)),
            itertools.chain([first, second], pieces),
            depth=2,
        )
        waiting: tuple[Piece, Any, Any] | None = None
        for piece, encoded in ahead:
            started = self._start(encoded)
            if waiting is not None:
                yield waiting[0], self._decode(*waiting[1:])
            waiting = piece, encoded, started
        assert waiting is not None
        yield waiting[0], self._decode(*waiting[1:])

    @functools.cached_property
    def identity(self) -> str:
        """sha256 (hex) of its parameters and the files it needs."""
        digest = hashlib.sha256(repr(sorted(self.task.use.files.items())).encode())
        for member in self.members:
            digest.update(repr(member.calibration).encode())
            for name, leaf in zip(leaf_names(member.variables), jax.tree.leaves(member.variables)):
                digest.update(name.encode() + np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()

    def _prepared(self, number: int, given: Any) -> Any:
        try:
            return self.task.use.prepare(given)
        except UserError as error:
            raise UserError(f"input {number}: {error}") from error

    def _encode(self, piece: Piece) -> Encoded | None:
        if not piece.inputs:
            return None
        encoded = self.task.use.encode(piece.inputs)
        if self._cpu is None:
            return encoded
        most = min(encoded.rows.batch_rows, _CPU_ROWS[self.task.use.takes])
        return encoded._replace(rows=encoded.rows._replace(batch_rows=most))

    @functools.cached_property
    def _cpu(self) -> ThreadPoolExecutor | None:
        """Computes several batches at once: the parts of one that are not parallel run beside the
        products of another. None on accelerators, and on several devices: of two programs with
        collectives at once each can wait for the other."""
        if self.mesh.size > 1 or self.mesh.devices.flat[0].platform != "cpu":
            return None
        return ThreadPoolExecutor(_CPU_BATCHES)

    def _start(self, encoded: Encoded | None) -> Iterable[list[Outputs]]:
        """Outputs of each batch and each member, which may still be computed."""
        if encoded is None:
            return []
        rows = encoded.rows
        steps = range(-(-rows.num_rows // rows.batch_rows))
        if self._cpu is None or len(steps) == 1:
            return [self._outputs(rows, step) for step in steps]
        return self._cpu.map(lambda step: jax.device_get(self._outputs(rows, step)), steps)

    def _outputs(self, rows: Dataset, step: int) -> list[Outputs]:
        num_rows = _bucket(
            min(rows.batch_rows, rows.num_rows - step * rows.batch_rows),
            multiple=self.mesh.shape["data"] * self.mesh.shape["fsdp"],
        )
        if self._cpu is None:
            batch = put_batch(rows, step=step, mesh=self.mesh, num_rows=num_rows)
        else:
            batch = global_batch(rows, step=step, rows=np.arange(num_rows))
        return [member.apply(member.variables, member.frozen, batch) for member in self.members]

    def _decode(
        self, encoded: Encoded | None, started: Iterable[list[Outputs]]
    ) -> list[dict[str, Any]]:
        if encoded is None:
            return []
        average, parts = self.task.use.average, []
        for batch in started:
            found = list(map(self._corrected, self.members, jax.device_get(batch)))
            one = found[0] if average is None or len(found) == 1 else average(found)
            parts.append({name: x[: encoded.rows.batch_rows] for name, x in one.items()})
        return encoded.decode(
            {
                name: np.concatenate([part[name] for part in parts])[: encoded.rows.num_rows]
                for name in parts[0]
            }
        )

    def _corrected(self, member: Member, outputs: Outputs) -> Outputs:
        calibrating = self.task.scoring.calibrating
        if calibrating is None or member.calibration is None:
            return outputs
        return calibrating.apply(outputs, member.calibration)


def load(place: str, *, overrides: Mapping[str, str] | None = None) -> Predictor:
    """What was trained, ready to be used. See `bigjax.load`."""
    overrides = dict(overrides or {})
    opened = [open_trained(each, overrides=overrides) for each in _places(place)]
    scorers = [build_scorer(each.config, folder=each.folder, splits=()) for each in opened]
    first = scorers[0].task
    if len(scorers) > 1 and first.use.average is None:
        raise UserError(f"--workdir={place}: models of {first.name} cannot be averaged")
    for each, scorer in zip(opened[1:], scorers[1:]):
        _compare(first, scorer.task, folders=(opened[0].folder, each.folder))
    members = tuple(
        Member(
            make_apply(scorer.task, mesh=scorer.mesh),
            variables_of(scorer, each)[0],
            scorer.frozen,
            calibration.read(each.folder) if each.is_run else None,
        )
        for each, scorer in zip(opened, scorers)
    )
    return Predictor(first, place, opened[0].config, members, scorers[0].mesh)


def _places(place: str) -> list[str]:
    return [place] if os.path.exists(place) else place.split(",")


def _compare(one: Task, other: Task, *, folders: tuple[str, str]) -> None:
    """Raises UserError where two models do not answer the same question in the same terms."""
    differ = ["task"] * (one.name != other.name) + told_apart(one, other)
    if differ:
        raise UserError(
            f"--workdir: {folders[0]} and {folders[1]} cannot be averaged, {', '.join(differ)} "
            "differ; expected models of the same task with the same tags or classes and tokenizer"
        )


def _is_one(inputs: Any) -> bool:
    """A text, a file, a record or an image, and no series of them."""
    return (
        isinstance(inputs, str | bytes | Mapping | os.PathLike | np.ndarray)
        or hasattr(inputs, "convert")  # an image of Pillow
    )


def _bucket(num_rows: int, *, multiple: int) -> int:
    """A power of two, so that few shapes are compiled; of what the mesh divides."""
    rows = 1 << (num_rows - 1).bit_length()
    return -(-rows // multiple) * multiple
