"""The order of the modules: what a file may import, how long it may be, what it may be called."""

import ast
import itertools
from pathlib import Path

import pytest
from conftest import ROOT

# A module imports only modules of lower layers. The table of docs/design.md says what each owns.
LAYERS = {
    "errors": 0,
    "relay": 0,
    "charts": 0,
    "flops": 0,
    "logs": 0,
    "losses": 0,
    "state": 0,
    "data.news_names": 0,
    "data.sentences": 0,
    "models.ops": 0,
    "config_file": 1,
    "data.augment": 1,
    "data.images": 1,
    "metrics": 1,
    "lock": 1,
    "manifest": 1,
    "reliability": 1,
    "trees": 1,
    "precision": 2,
    "class_scores": 2,
    "config": 2,
    "sections": 2,
    "task": 2,
    "integrity": 2,
    "data.conll": 2,
    "data.news": 2,
    "data.packing": 2,
    "data.text": 2,
    "data.tfds": 2,
    "chunks": 2,
    "models.bert": 2,
    "models.cnn": 2,
    "restore": 3,
    "optim": 3,
    "report": 3,
    "data.pipeline": 3,
    "data.sources": 3,
    "data.tfds_images": 3,
    "models.huggingface": 3,
    "checkpoint": 4,
    "data.image_sources": 4,
    "run_folder": 4,
    "sharding": 4,
    "step": 4,
    "tasks.image_scores": 4,
    "tasks.tagging_scores": 4,
    "evaluate": 5,
    "tasks.image_classification": 5,
    "tasks.token_tagging": 5,
    "tasks": 6,
    "settings": 7,
    "setup": 7,
    "check": 8,
    "nonfinite": 8,
    "ledger": 5,
    "collectives": 0,
    "memory": 1,
    "distributed": 1,
    "start": 8,
    "stop": 1,
    "verify": 4,
    "cadence": 8,
    "watchdog": 2,
    "recent": 9,
    "train": 10,
    "run": 11,
}
MAX_LINES, MAX_FUNCTION_LINES = 320, 60
LITERAL_DATA = {"data.news_names"}
LOOPS = {"train._loop": 100}


def modules() -> dict[str, Path]:
    """Name without "bigjax." to file; files that hold nothing (empty __init__.py) are left out."""
    found = {}
    for path in sorted((ROOT / "bigjax").rglob("*.py")):
        parts = path.relative_to(ROOT / "bigjax").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name and path.read_text(encoding="utf-8").strip():
            found[name] = path
    return found


def imports(path: Path) -> set[str]:
    """Every module that the file imports, anywhere in it. `from a import b` is "a.b" where that is
    a module of ours, else "a"."""
    ours = {f"bigjax.{name}" for name in modules()}
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            taken = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (taken & ours) | (set() if taken <= ours else {node.module})
    return found


def test_every_module_has_a_layer():
    assert sorted(LAYERS) == sorted(modules())


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_from_layers_below_its_own(name):
    found = {other.removeprefix("bigjax.") for other in imports(modules()[name])} & set(LAYERS)
    wrong = {other for other in found if LAYERS[other] >= LAYERS[name]}
    assert not wrong, f"{name} (layer {LAYERS[name]}) imports {wrong}"


def test_main_only_starts_a_run_and_reports_the_errors_of_the_user():
    own = {name for name in imports(ROOT / "main.py") if name.startswith("bigjax")}
    assert own == {"bigjax.run", "bigjax.errors"}


def test_config_files_import_ml_collections_alone():
    files = sorted((ROOT / "configs").glob("*.py"))
    assert files
    assert {name for path in files for name in imports(path)} == {"ml_collections"}


def test_neither_tensorflow_nor_pytorch_is_imported_anywhere():
    roots = {name.split(".")[0] for path in modules().values() for name in imports(path)}
    assert "jax" in roots
    assert not roots & {"tensorflow", "torch", "transformers", "clu", "pandas"}


def test_files_are_short_and_say_what_they_own():
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        assert name in LITERAL_DATA or text.count("\n") <= MAX_LINES, name
        assert ast.get_docstring(ast.parse(text)).startswith("Owns "), name


def test_functions_are_short():
    for name, path in [*modules().items(), ("main", ROOT / "main.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                most = LOOPS.get(f"{name}.{node.name}", MAX_FUNCTION_LINES)
                assert node.end_lineno - node.lineno < most, f"{name}.{node.name}"


def test_no_module_is_a_drawer():
    drawers = {"utils", "util", "common", "helpers", "misc", "tools", "base", "lib"}
    assert not drawers & set(itertools.chain(*(name.split(".") for name in modules())))
