"""Owns `calibration.json`: what the probabilities of a run's model are corrected by. What is in it
is the task's (`Calibrating.fit`), and `step`, of the parameters that it was fitted to."""

import json
import os
from collections.abc import Mapping
from typing import Any

from bigjax.errors import UserError

FILE = "calibration.json"


def write(workdir: str, *, found: Mapping[str, Any], step: int) -> None:
    path = os.path.join(workdir, FILE)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump({**found, "step": step}, file, indent=1)
        file.write("\n")
    os.replace(path + ".tmp", path)


def read(workdir: str) -> dict[str, Any] | None:
    """None where the run has none: it had no dev split, or is from before there were any.

    Raises:
      UserError: a file that is damaged.
    """
    path = os.path.join(workdir, FILE)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); --mode=evaluate --workdir={workdir} writes it again"
        ) from error
    return found
