"""What importing the package brings with it."""

import subprocess
import sys

from conftest import ROOT

# A module of the given name that leaves a note when anything imports it, and cannot be imported.
TRAP = """\
import os, traceback
with open(os.environ["TRAP_NOTES"], "a") as file:
    file.write("".join(traceback.format_stack()))
raise ImportError("not to be imported")
"""
PROGRAM = """\
import importlib, pkgutil, sys
import bigjax, bigjax.modes.run
for module in pkgutil.walk_packages(bigjax.__path__, "bigjax."):
    importlib.import_module(module.name)
from bigjax.run_folder.tensorboard import TensorBoard
from bigjax.run_folder.writers import Terminal
TensorBoard(sys.argv[1], resume_at=0).close()
Terminal(start=0, total_steps=1).close()
assert not {"tensorflow", "torch", "transformers"} & set(sys.modules)
print(len([name for name in sys.modules if name.startswith("bigjax.")]))
"""


def test_neither_tensorflow_nor_pytorch_is_imported_though_both_are_there(tmp_path):
    traps = tmp_path / "traps"
    for name in ("tensorflow", "torch", "transformers"):
        (traps / name).mkdir(parents=True)
        (traps / name / "__init__.py").write_text(TRAP)
    notes = tmp_path / "notes"
    environment = {"PYTHONPATH": f"{traps}:{ROOT}", "TRAP_NOTES": str(notes), "PATH": ""}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "tensorboard")],
        env=environment | {"JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert not notes.exists(), notes.read_text()
    assert int(finished.stdout) > 35, "all modules were imported"
