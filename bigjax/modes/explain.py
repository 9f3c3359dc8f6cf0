"""Owns `--mode=explain`: what in an input made a model say what it says, on the terminal and as a
page."""

import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.errors import UserError
from bigjax.inference import inputs
from bigjax.inference.attribution import Explanation, explanations
from bigjax.inference.inputs import Reading
from bigjax.inference.predictor import Predictor, load, pieces
from bigjax.inference.reader import Reader
from bigjax.modes.predict import Asked
from bigjax.report import attributions
from bigjax.report.page import document
from bigjax.report.sections import escape

MAX_INPUTS = 20  # that are explained; it takes a second for each thing that is said
_NUM_LISTED, _BAR = 8, 24  # words listed for each entity, and the width of the longest bar
_MAP_WIDTH, _SHADES = 32, " ░▒▓█"
_NOTE = (
    "Integrated gradients (Sundararajan, Taly and Yan 2017): what each part of the input adds to "
    "the log-probability of what was said, on the straight way from an input that says nothing to "
    "this one. The parts sum to the difference of the two. {baseline} Blue speaks for what was "
    "said, orange against it."
)
_BASELINES = {
    "text": "Of a text, nothing is the same sentence of words that the model does not know.",
    "image": "Of an image, nothing is an even grey.",
}


def explain(workdir: str, *, asked: Asked, overrides: Mapping[str, str]) -> None:
    """Explains what is said of the first inputs, and with `asked.output` writes a page.

    Raises:
      UserError: no model, no input, one that cannot be read, or a task without explanations.
    """
    if asked.input is None:
        raise UserError("--mode=explain needs --input=FILE, or a text: --input='Ada met Bob.'")
    if asked.output is not None and not asked.output.lower().endswith((".html", ".htm")):
        raise UserError(f"--output={asked.output}: expected the name of a page, such as why.html")
    predictor = load(workdir, overrides=overrides)
    takes = predictor.task.use.takes
    prepared = list(itertools.islice(_prepared(predictor, asked), MAX_INPUTS + 1))
    blocks = []
    for one in prepared[:MAX_INPUTS]:
        ((_, (answer,)),) = predictor.answer(iter(list(pieces([one], takes=takes))))
        figures = []
        for found in explanations(predictor, one, answer):
            print(_told(found), flush=True)
            figures.append(attributions.figure(_item(found)))
        name = _named(answer)
        if not figures:
            print(f"{name}: nothing was found in it\n", flush=True)
        blocks.append((name, "".join(figures) or "<p>Nothing was found in it.</p>"))
    if len(prepared) > MAX_INPUTS:
        print(f"note: the first {MAX_INPUTS} inputs are explained", file=sys.stderr)
    if asked.output is not None:
        _write(asked.output, blocks, name=predictor.name, takes=takes)
        print(f"page: {asked.output}", file=sys.stderr)


def _prepared(predictor: Predictor, asked: Asked) -> Iterator[Any]:
    use = predictor.task.use
    is_text = use.takes == "text" and not os.path.exists(asked.input)
    if is_text and any(map(str.isspace, asked.input)):
        yield use.prepare(asked.input)
        return
    reading = Reading.of(predictor.config, kind=asked.kind, endings=use.endings)
    given = inputs.read(asked.input, takes=use.takes, reading=reading)
    reader = Reader(given, prepare=use.prepare, skip_bad=asked.skip_bad)
    yield from reader
    for place in reader.bad:
        print(f"note: left out {place}", file=sys.stderr)


def _named(answer: Mapping[str, Any]) -> str:
    """An input in a few words."""
    name = " ".join(str(answer.get("image") or answer.get("text")).split()) or "the input"
    return name if len(name) <= 60 else name[:59] + "…"


def _item(found: Explanation) -> dict[str, Any]:
    why = {key: value for key, value in found.why._asdict().items() if key != "parts"}
    return {"said": found.said, **why, **found.shown}


def _write(path: str, blocks: Sequence[tuple[str, str]], *, name: str, takes: str) -> None:
    about = _NOTE.format(baseline=_BASELINES.get(takes, ""))
    header = (
        f'<p class="task">What the model looks at</p><h1>{escape(name)}</h1>'
        f'<p class="note">{escape(about)}</p>'
    )
    page = document(list(blocks), header=header, title=f"What the model looks at: {name}")
    try:
        with open(path, "w", encoding="utf-8", errors="replace") as file:
            file.write(page)
    except OSError as error:
        raise UserError(f"--output={path}: cannot be written ({error.strerror})") from error


# --- on the terminal ---


def _told(found: Explanation) -> str:
    """What was said, and the parts of the input that did most, in order."""
    lines = _words(found.shown["pieces"]) if "pieces" in found.shown else _map(found.shown["map"])
    head = f"{_safe(_what(found))}: {attributions.in_words(found.why._asdict())}"
    return "\n".join([head, *lines, ""])


def _what(found: Explanation) -> str:
    said = " ".join(text for text, _, asked in found.shown.get("pieces", ()) if asked)
    return f"{said} {found.said}".strip()


def _words(pieces: Sequence[Sequence[Any]]) -> list[str]:
    words = [(text, value) for text, value, _ in pieces if value is not None]
    most = max((abs(value) for _, value in words), default=0.0) or 1.0
    ranked = sorted(words, key=lambda word: -abs(word[1]))[:_NUM_LISTED]
    width = min(24, max((len(text) for text, _ in ranked), default=0))
    return [
        f"  {_safe(text)[:width]:<{width}} {attributions.signed(value):>7} "
        + ("█" if value > 0 else "░") * round(abs(value) / most * _BAR)
        for text, value in ranked
    ]


def _map(of_pixel: np.ndarray) -> list[str]:
    """What speaks for it, in a few shades."""
    height, width = of_pixel.shape
    step = -(-width // _MAP_WIDTH)
    columns = range(0, width, step)
    blocks = np.array(
        [
            [np.maximum(of_pixel[y : y + step, x : x + step], 0).sum() for x in columns]
            for y in range(0, height, step)
        ]
    )
    levels = np.rint(blocks / max(blocks.max(), 1e-12) * (len(_SHADES) - 1)).astype(int)
    return ["  " + "".join(_SHADES[level] * 2 for level in row).rstrip() for row in levels]


def _safe(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
