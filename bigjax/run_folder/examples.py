"""Owns `examples/SPLIT.npz`: what each example of a scored split came to, so that runs can be
compared without their data or their models.

The file is a NumPy archive, a few bytes an example:

- `NAME/kind` int32 (E,), `NAME/num` and `NAME/den` float64 (D, J): for each score that is a ratio
  of sums over examples, its `scores.intervals.Parts`. E counts the split's examples in the order
  of the data, so those of two runs on the same data are the same by number.
- `wrong` uint8: JSON Lines in UTF-8, an object for each example that is not all right, in order: an
  item of a section of the report (`report/sections.py`) and its number, from 0, as `example`. What
  is in neither of two runs' files is right in both; of one that is only in one of them the other
  run predicted what is gold.
- `about` uint8: a JSON object: `kind` (the kind of section that those items are of), `step` (of
  the parameters that were scored) and `fingerprint` (of the split's content).
"""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.errors import UserError
from bigjax.scores.intervals import Parts

FOLDER = "examples"


class Examples(NamedTuple):
    """parts: name of a score to its parts. wrong: items by the number of their example, from 0.
    kind: of section that the items are of. step, fingerprint: of what was scored, on what."""

    parts: Mapping[str, Parts]
    wrong: Mapping[int, Mapping[str, Any]]
    kind: str
    step: int
    fingerprint: str


def write(workdir: str, *, split: str, examples: Examples) -> None:
    """The same bytes for the same examples."""
    arrays = {
        f"{name}/{part}": array
        for name, parts in examples.parts.items()
        for part, array in parts._asdict().items()
    }
    lines = "".join(_json(item) + "\n" for item in examples.wrong.values())
    about = {name: getattr(examples, name) for name in ("kind", "step", "fingerprint")}
    arrays |= {"wrong": _bytes(lines), "about": _bytes(_json(about))}
    os.makedirs(os.path.join(workdir, FOLDER), exist_ok=True)
    path = _path(workdir, split)
    with open(path + ".tmp", "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(path + ".tmp", path)


def read(workdir: str, *, split: str) -> Examples | None:
    """None where the run has no scores of that split, or is from before they were kept.

    Raises:
      UserError: a file that is damaged.
    """
    path = _path(workdir, split)
    if not os.path.exists(path):
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            names = [name.removesuffix("/kind") for name in found.files if name.endswith("/kind")]
            parts = {
                name: Parts(*(found[f"{name}/{part}"] for part in Parts._fields)) for name in names
            }
            items = [json.loads(line) for line in found["wrong"].tobytes().splitlines()]
            about = json.loads(found["about"].tobytes())
            return Examples(parts, {item["example"]: item for item in items}, **about)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: is damaged ({error}); --mode=evaluate --workdir={workdir} writes it again"
        ) from error


def splits(workdir: str) -> Sequence[str]:
    """Those that `read` finds, "test" last."""
    try:
        names = os.listdir(os.path.join(workdir, FOLDER))
    except OSError:
        return []
    found = [name.removesuffix(".npz") for name in names if name.endswith(".npz")]
    return sorted(found, key=lambda split: (split == "test", split))


def _path(workdir: str, split: str) -> str:
    return os.path.join(workdir, FOLDER, f"{split}.npz")


def _json(value: Any) -> str:
    # A byte of a file's name that is no text is a lone surrogate, which JSON can spell.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace").decode()


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)
