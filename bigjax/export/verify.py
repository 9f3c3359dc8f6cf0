"""Owns the proof that what was exported is the model that was trained: examples through the
exported file, in a process of its own runtime, against the same function here."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.errors import UserError
from bigjax.export import runner
from bigjax.tasks.portable import Portable, Samples

NUM_EXAMPLES = 200
# Of the largest logit: some hundred times what two runtimes differ by in float32.
TOLERANCE = 1e-4

Inputs = Mapping[str, np.ndarray]


class Call(NamedTuple):
    """file: which file of the folder is called, None for its usual one."""

    inputs: Inputs
    file: str | None = None


class Found(NamedTuple):
    """outputs: logits of each call. answers: as `example.py` gives them; None where nothing was
    asked. runtime: names of packages to their versions."""

    outputs: list[np.ndarray]
    answers: list[Any]
    runtime: dict[str, str]


class RuntimeMissing(Exception):
    """The format's runtime is not installed where the export was to be verified."""


def verify(
    folder: Path,
    portable: Portable,
    *,
    params: Any,
    samples: Samples,
    python: str,
    files: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """What was found, for the record: the largest difference of logits, equal answers.

    Args:
      python: the interpreter that has the runtime.
      files: functions of fixed sizes in the folder, and their sizes: each runs some examples too.
    Raises:
      RuntimeMissing: there is none to verify it in.
      UserError: it is not the same model.
    """
    expected = reference(portable, params=params, batches=samples.batches)
    fitted = _fitted(samples.batches[0], portable, files)
    calls = [*map(Call, samples.batches), *(Call(x, name) for name, x in fitted.items())]
    found = run(folder, calls, given=samples.given, python=python)
    outputs, fixed = found.outputs[: len(expected)], found.outputs[len(expected) :]

    ours, theirs = samples.compared(expected), samples.compared(outputs)
    difference = float(np.abs(ours - theirs).max())
    of_files = {}
    for name, logits in zip(fitted, fixed):
        replaced = [_replaced(expected[0], by=logits), *expected[1:]]
        of_files[name] = float(np.abs(ours - samples.compared(replaced)).max())
    limit = TOLERANCE * max(1.0, float(np.abs(ours).max()))
    answers, read = samples.answers(expected), samples.answers(outputs)
    asked = [(a, b) for a, b in zip(answers, found.answers) if b is not None]
    worst = max([difference, *of_files.values()])
    if not worst <= limit:  # nan is no small difference
        raise UserError(
            f"the exported model is another one: logits differ by {worst:.3g}, more than "
            f"{limit:.3g} ({_versions(found.runtime)}); nothing was written; this is a bug of "
            "bigjax or of that runtime"
        )
    # Where two classes are nearly equal rounding decides; by how much was seen above.
    rounded = sum(a != b for a, b in zip(answers, read))
    wrong = [(a, b) for a, b in asked if a != b]
    if len(wrong) > rounded:
        raise UserError(
            f"example.py answers {len(wrong)} of {len(asked)} examples otherwise, the first with "
            f"{wrong[0][1]}, expected {wrong[0][0]} ({_versions(found.runtime)}); nothing was "
            "written; this is a bug of bigjax or of that runtime"
        )
    return {
        "verified": True,
        "examples": len(answers),
        "largest_difference": difference,
        "allowed_difference": limit,
        "equal_answers": len(answers) - rounded,
        "asked_of_example_py": len(asked),
        "equal_answers_of_example_py": len(asked) - len(wrong),
        "runtime": found.runtime,
        **({"largest_difference_of_fixed_sizes": of_files} if of_files else {}),
    }


def run(folder: Path, calls: Sequence[Call], *, given: Sequence[Any], python: str) -> Found:
    """`example.py` of the folder over `calls` and `given`, in a process of its own.

    Raises:
      RuntimeMissing: what it imports is not installed there, or there is no such interpreter.
      UserError: it ended with an error.
    """
    with tempfile.TemporaryDirectory() as job:
        arrays = {f"{i}/{k}": x for i, call in enumerate(calls) for k, x in call.inputs.items()}
        np.savez(os.path.join(job, "inputs.npz"), **arrays)
        listed = [{"file": call.file, "names": list(call.inputs)} for call in calls]
        for name, value in {"calls.json": listed, "given.json": list(given)}.items():
            Path(job, name).write_text(json.dumps(value), encoding="utf-8")
        # On the CPU, where float32 is float32; and what is not in the folder is not looked for.
        chosen = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
        try:
            ended = subprocess.run(
                [python, runner.__file__, str(folder), job],
                env=os.environ | chosen,
                capture_output=True,
                text=True,
            )
        except OSError as error:
            raise RuntimeMissing(f"{python}: {error.strerror}") from error
        if ended.returncode == runner.MISSING:
            raise RuntimeMissing(ended.stdout.strip().splitlines()[-1])
        if ended.returncode:
            last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
            raise UserError(
                f"the exported model does not run in its own runtime ({python}): {last}; nothing "
                "was written"
            )
        told = json.loads(Path(job, "answers.json").read_text(encoding="utf-8"))
        with np.load(os.path.join(job, "outputs.npz")) as arrays:
            outputs = [arrays[str(number)] for number in range(len(calls))]
    return Found(outputs, told["answers"], told["runtime"])


def line(facts: Mapping[str, Any], *, things: str) -> str:
    """What people read of the verdict."""
    if not facts["verified"]:
        return f"NOT VERIFIED: {facts['reason']}"
    asked, equal = facts["asked_of_example_py"], facts["equal_answers_of_example_py"]
    return (
        f"verified: {facts['examples']} {things} of dev in its own runtime "
        f"({_versions(facts['runtime'])}): largest difference of logits "
        f"{facts['largest_difference']:.2g}, equal answers {facts['equal_answers']} of "
        f"{facts['examples']}" + (f", by example.py {equal} of {asked}" if asked else "")
    )


def reference(portable: Portable, *, params: Any, batches: Sequence[Inputs]) -> list[np.ndarray]:
    """Logits of each batch, by the function of the task itself."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        apply = jax.jit(portable.apply)
        return [np.asarray(apply(params, dict(batch))) for batch in batches]


def _fitted(
    batch: Inputs, portable: Portable, files: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, np.ndarray]]:
    """For each function of fixed sizes the first rows of the batch, with zeros up to those sizes;
    not for those that the batch is too wide for."""
    found = {}
    for file, sizes in files.items():
        fitted = {}
        for name, x in batch.items():
            wanted = [sizes.get(dim, dim) for dim in portable.inputs[name].dims]
            x = x[: wanted[0]]
            if all(have <= n for n, have in zip(wanted, x.shape)):
                fitted[name] = np.pad(x, [(0, n - have) for n, have in zip(wanted, x.shape)])
        if len(fitted) == len(batch):
            found[file] = fitted
    return found


def _replaced(logits: np.ndarray, *, by: np.ndarray) -> np.ndarray:
    """`logits` with what `by` has of them."""
    part = tuple(slice(min(sizes)) for sizes in zip(logits.shape, by.shape))
    found = logits.copy()
    found[part] = by[part]
    return found


def _versions(runtime: Mapping[str, str]) -> str:
    shown = [name for name in runner.RUNTIMES[:5] if name in runtime]
    return ", ".join(f"{name} {runtime[name]}" for name in shown)
