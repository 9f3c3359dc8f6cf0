"""Owns running the `example.py` of an exported folder, in whichever Python has its runtime: it is
started as a program, and imports nothing of ours.

python runner.py FOLDER JOB: JOB holds calls.json (for each call its file, or null, and the names of
its inputs), inputs.npz ("3/tokens") and given.json. It is given outputs.npz and answers.json.
"""

import json
import os
import platform
import sys

MISSING = 3  # exit code: the runtime is not installed
RUNTIMES = ("jax", "onnxruntime", "torch", "transformers", "peft", "tokenizers", "numpy")


def main(folder: str, job: str) -> int:
    sys.dont_write_bytecode = True
    sys.path[0] = folder  # and not this file's, in which `onnx` is another module
    try:
        import example  # pyright: ignore
        import numpy as np
    except ImportError as error:
        print(error)
        return MISSING
    with open(os.path.join(job, "calls.json"), encoding="utf-8") as file:
        calls = json.load(file)
    outputs = {}
    with np.load(os.path.join(job, "inputs.npz")) as arrays:
        for number, call in enumerate(calls):
            inputs = {name: arrays[f"{number}/{name}"] for name in call["names"]}
            options = {"model": example.load(call["file"])} if call["file"] else {}
            outputs[str(number)] = example.run(**options, **inputs)
    np.savez(os.path.join(job, "outputs.npz"), **outputs)
    with open(os.path.join(job, "given.json"), encoding="utf-8") as file:
        given = json.load(file)
    answers = {
        "answers": [None if one is None else example.answer(one) for one in given],
        "runtime": {"python": platform.python_version()}
        | {name: sys.modules[name].__version__ for name in RUNTIMES if name in sys.modules},
    }
    with open(os.path.join(job, "answers.json"), "w", encoding="utf-8") as file:
        json.dump(answers, file)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
