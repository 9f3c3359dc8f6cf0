"""Owns `--mode=predict`: from files to answers."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bigjax.errors import UserError, first_of, nearest
from bigjax.inference import inputs
from bigjax.inference.inputs import Reading
from bigjax.inference.output import Output
from bigjax.inference.predictor import Predictor, load, pieces
from bigjax.inference.reader import NOTHING, Mark, Reader
from bigjax.tasks.task import Format

_BY_ENDING = {".jsonl": "jsonl", ".ndjson": "jsonl", ".conll": "conll", ".csv": "csv"}


class Asked(NamedTuple):
    """The flags of prediction.

    input: files, as `inputs.read` takes them. output: the file to write; None: standard output.
    format: how answers are written; None: by the end of the output's name, or for people where
      standard output is a terminal.
    kind: what the inputs are. skip_bad: leave out inputs that cannot be read or answered.
    """

    input: str | None = None
    output: str | None = None
    format: str | None = None
    kind: inputs.Kind = "auto"
    skip_bad: bool = False


def predict(workdir: str, *, asked: Asked, overrides: Mapping[str, str]) -> None:
    """Answers every input, in order, and writes the answers.

    Raises:
      UserError: no model, no input, an input that cannot be read or answered (with file:line).
    """
    if asked.input is None:
        raise UserError("--mode=predict needs --input=FILE: a file, a pattern, or - for stdin")
    if asked.input != inputs.STDIN:
        inputs.paths(asked.input, takes="image")  # that they are there is known before loading
    predictor = load(workdir, overrides=overrides)
    name = _format_name(asked, predictor)
    format = predictor.task.use.formats[name]
    if asked.output is None:
        job = _Job(predictor, asked, format, after=NOTHING)
        try:
            for text, _ in job.run():
                sys.stdout.write(text)
                sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as head, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        job.tell()
        return
    made_by = {
        "the model": predictor.identity,
        "--format": name,
        "--config.*": dict(overrides),
        "--input_format": asked.kind,
        "--skip_bad": asked.skip_bad,
    }
    with Output(asked.output, made_by=made_by) as output:
        if output.done.num:
            say(f"continuing after {output.done.num:,} inputs")
        job = _Job(predictor, asked, format, after=output.done)
        for text, mark in job.run():
            output.write(text, mark=mark)
        output.finish()
    job.tell()


class _Job:
    """A pass over the inputs, and what is told of it."""

    def __init__(self, predictor: Predictor, asked: Asked, format: Format, *, after: Mark):
        use = predictor.task.use
        reading = Reading.of(predictor.config, kind=asked.kind, endings=use.endings)
        self._predictor, self._asked, self._format, self._after = predictor, asked, format, after
        self._total = inputs.size(asked.input, takes=use.takes)
        self._reader = Reader(
            inputs.read(asked.input, takes=use.takes, reading=reading),
            prepare=use.prepare,
            skip_bad=asked.skip_bad,
            after=after,
        )
        self._began = time.monotonic()

    def run(self) -> Iterator[tuple[str, Mark]]:
        """Text of answers, and where the inputs were with it."""
        from tqdm import tqdm

        header, use = self._format.header, self._predictor.task.use
        is_new = not self._after.num
        with tqdm(
            total=self._total, initial=self._after.num_read, unit="B", unit_scale=True,
            desc="predicting", dynamic_ncols=True, disable=not sys.stderr.isatty(),
        ) as bar:  # fmt: skip
            found = pieces(self._reader, takes=use.takes, mark=self._reader.mark)
            for piece, answers in self._predictor.answer(found):
                text = "".join(map(self._format.line, piece.inputs, answers))
                if is_new and answers and header is not None:
                    text = header(piece.inputs[0], answers[0]) + text
                is_new &= not answers
                yield text, piece.mark
                bar.update(piece.mark.num_read - bar.n)

    def tell(self) -> None:
        end, seconds = self._reader.mark(), time.monotonic() - self._began
        where = f" in {self._asked.output}" if self._asked.output else ""
        rate = (end.num - self._after.num) / seconds
        say(f"{end.num - end.num_bad:,} answers{where}, {seconds:.1f} s, {rate:,.1f} inputs/s")
        if end.num_bad:
            say(f"left out {end.num_bad:,} broken inputs: {first_of(self._reader.bad)}")


def _format_name(asked: Asked, predictor: Predictor) -> str:
    formats = predictor.task.use.formats
    name = asked.format
    if name is None and asked.output is None:
        name = "terminal" if sys.stdout.isatty() and "terminal" in formats else next(iter(formats))
    elif name is None:
        name = _BY_ENDING.get(os.path.splitext(asked.output)[1].lower(), next(iter(formats)))
    if name not in formats:
        raise UserError(f"--format={name}: {nearest(name, formats)}")
    return name


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
