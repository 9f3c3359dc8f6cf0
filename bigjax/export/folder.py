"""Owns the folder of an export: made beside its place and renamed when it is whole, and the record
of what is in it (`export.json`)."""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from bigjax.errors import UserError, first_of
from bigjax.tasks.portable import Portable

RECORD = "export.json"
MAKER = "bigjax"


@contextlib.contextmanager
def new(output: str) -> Iterator[Path]:
    """A folder beside `output` to write to, which takes its place when the block ends without an
    error, and is gone after one.

    Raises:
      UserError: `output` is there and is no export of ours, or nothing can be written beside it.
    """
    place = Path(os.path.abspath(output))
    check(output)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise UserError(f"--output={output}: cannot be made ({error.strerror})") from error
    old = made.with_name(made.name + ".old")
    try:
        made.chmod(stat.S_IMODE(place.parent.stat().st_mode) & 0o755)
        yield made
        check(output)  # what it has become since
        if place.exists():
            place.rename(old)
        made.rename(place)
    except OSError as error:
        raise UserError(
            f"--output={output}: cannot be written ({error.strerror or error}); nothing was changed"
        ) from error
    finally:
        if old.exists() and not place.exists():
            old.rename(place)
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check(output: str) -> None:
    """Raises UserError where `output` is there and is anything but an empty folder or an export of
    ours, to which nothing was added."""
    place = Path(output)
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_dir():
        raise UserError(f"--output={output}: is there and is no folder; give another")
    found = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
    if not found:
        return
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
        ours = {RECORD, *record["files"]} if record["made_by"].startswith(MAKER) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        ours = None
    if ours is None:
        raise UserError(
            f"--output={output}: is there and is no export of this program (it has no {RECORD}); "
            "give another"
        )
    if others := sorted(found - ours):
        raise UserError(
            f"--output={output}: holds files that were not exported ({first_of(others)}), which "
            "would be lost; move them, or give another"
        )


def write_beside(folder: Path, portable: Portable, params: Any, *, runtime: str) -> None:
    """Writes what lies beside a function: the task's files and `example.py`, whose beginning is the
    file `runtime` of this package."""
    begin = resources.files(__package__).joinpath(runtime).read_text(encoding="utf-8")
    example = begin.replace("IMPORTS\n", portable.imports) + portable.example
    for name, content in {"example.py": example, **portable.files(params)}.items():
        (folder / name).write_text(content, encoding="utf-8")


def write_record(folder: Path, facts: Mapping[str, Any], *, version: str | None) -> None:
    """Writes `export.json`: `facts`, and the size and SHA-256 of every other file."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            path.chmod(stat.S_IMODE(folder.stat().st_mode) & 0o666)  # safetensors hides its own
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(folder).as_posix()
            files[name] = {"bytes": path.stat().st_size, "sha256": digest}
    record = {"made_by": f"{MAKER} {version}", **facts, "files": files}
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")
