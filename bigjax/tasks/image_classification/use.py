"""Owns a trained image classifier in use: image files, pictures and arrays as rows of the model,
and its outputs as classes by confidence, and how these are written."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data import dataset
from bigjax.data.images import decoding
from bigjax.errors import UserError
from bigjax.scores import class_scores
from bigjax.tasks.task import JSONL, Encoded, Format, Outputs, csv_row

_COLUMNS = ("image", "class", "score", "next", "next_score")


class Prepared(NamedTuple):
    """name: the path of the image, "" where it has none. pixels: uint8 (H, W, C), as trained on."""

    name: str
    pixels: np.ndarray


def prepare(given: Any, *, shape: tuple[int, ...], image_size: int | None) -> Prepared:
    """An image as the run's own were read.

    Args:
      given: the path or the content of an image file; a Pillow image; uint8 (H, W) or (H, W, C); or
        a dict with one of them as "image".
      shape: (H, W, C) that the run knows. image_size: what it resizes images to; None: it does not.
    Raises:
      UserError: none of these, or no image, or one of another size where none is resized.
    """
    if isinstance(given, Mapping):
        if "image" not in given:
            raise UserError(f"expected 'image' in the record, found {', '.join(map(repr, given))}")
        given = given["image"]
    name = os.fspath(given) if isinstance(given, str | os.PathLike) else ""
    try:
        stored = _stored(given)
        pixels = decoding.decode(stored, image_size=image_size, channels=shape[2])
    except OSError as error:
        raise UserError(f"{name or 'the image'}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{name or 'the image'}: {error}") from error
    if pixels.shape != shape:
        raise UserError(
            f"{name or 'the image'}: {pixels.shape[:2]} pixels; the run knows {shape[:2]} alone"
        )
    return Prepared(name, pixels)


def _stored(given: Any) -> bytes:
    """The content of an image file; of what is none, one without loss is made."""
    if isinstance(given, bytes):
        return given
    if isinstance(given, str | os.PathLike):
        with open(given, "rb") as file:
            return file.read()
    from PIL import Image

    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8 or given.ndim not in (2, 3):
            raise ValueError(
                f"array {given.dtype} {given.shape}; expected uint8 (H, W) or (H, W, C)"
            )
        given = Image.fromarray(given[..., 0] if given.shape[2:] == (1,) else given)
    if not isinstance(given, Image.Image):
        raise ValueError(f"expected a path, bytes, a picture or an array, found {type(given)}")
    file = io.BytesIO()
    given.save(file, format="PNG")
    return file.getvalue()


def encode(given: Sequence[Prepared], *, class_names: Sequence[str], batch_rows: int) -> Encoded:
    """Images as rows of the model, and back: for each {image, class, score, next, next_score}, the
    two most probable classes and their probabilities."""

    def decode(outputs: Outputs) -> list[dict[str, Any]]:
        probabilities = class_scores.softmax(outputs["logits"])
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        return [
            _answer(one.name, class_names, p, best)
            for one, p, best in zip(given, probabilities, order.tolist())
        ]

    rows = dataset.each_once(
        lambda ids: {"image": np.stack([given[i].pixels for i in ids.tolist()])},
        num_examples=len(given),
        batch_rows=batch_rows,
        fingerprint="",
    )
    return Encoded(rows, decode)


def _answer(
    name: str, class_names: Sequence[str], probabilities: np.ndarray, best: Sequence[int]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"image": name} if name else {}
    for key, number in zip(("class", "next"), best):
        answer[key] = class_names[number]
        answer["score" if key == "class" else "next_score"] = round(float(probabilities[number]), 4)
    return answer


def average(several: Sequence[Outputs]) -> Outputs:
    """Logits whose probabilities are the mean of those of several models."""
    return {"logits": class_scores.mean_logits([outputs["logits"] for outputs in several])}


def _line(_: Prepared, answer: Mapping[str, Any]) -> str:
    second = f", else {answer['next']} {answer['next_score']:.2f}" if "next" in answer else ""
    name = f"{answer['image']}  " if "image" in answer else ""
    return f"{name}{answer['class']} {answer['score']:.2f}{second}\n"


FORMATS = {
    "jsonl": JSONL,
    "csv": Format(
        lambda _, answer: csv_row([answer.get(name, "") for name in _COLUMNS]),
        lambda *_: ",".join(_COLUMNS) + "\n",
    ),
    "terminal": Format(_line),
}
