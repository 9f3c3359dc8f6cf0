"""The order of the rooms, what a file may import, how long a function may be, what it may be
called."""

import ast
import itertools
import re
from pathlib import Path

import pytest
from conftest import ROOT

# A module imports from its own room and from those that stand after it. What each room owns is in
# its `__init__`; docs/design.md walks through them.
ROOMS = (
    "modes", "export", "serve", "inference", "loop", "search", "run_folder", "report",
    "engine", "methods", "checkpoints", "tasks", "models", "data", "scores", "processes", "config",
    "trees", "errors",
)  # fmt: skip
MAX_LINES, MAX_FUNCTION_LINES = 400, 60
LITERAL_DATA = {"data.text.news_names"}
LOOPS = {"loop.loop.run_loop": 100}


def modules() -> dict[str, Path]:
    """Name without "bigjax." to file."""
    found = {}
    for path in sorted((ROOT / "bigjax").rglob("*.py")):
        parts = path.relative_to(ROOT / "bigjax").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
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


def ours(path: Path) -> set[str]:
    """Those of them that are ours, without "bigjax."."""
    return {name.removeprefix("bigjax.") for name in imports(path) if name.startswith("bigjax.")}


def room(name: str) -> str:
    return name.split(".")[0]


def test_every_module_is_in_a_room_that_says_what_it_owns():
    assert {room(name) for name in modules()} == set(ROOMS)
    for folder in {path.parent for path in modules().values()}:
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert docstring, folder


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_from_its_own_room_and_those_below(name):
    above = ROOMS[: ROOMS.index(room(name))]
    wrong = {other for other in ours(modules()[name]) if room(other) in above}
    assert not wrong, f"{name} imports {wrong} from above"


def test_no_two_modules_import_each_other():
    """Nor in a longer circle: taking away what imports nothing that is left leaves nothing."""
    left = {name: ours(path) for name, path in modules().items()}
    while free := {name for name, found in left.items() if not found & set(left)}:
        left = {name: found for name, found in left.items() if name not in free}
    assert not left, f"in or above a circle: {sorted(left)}"


def test_tasks_do_not_import_each_other():
    folders = {path.parent for name, path in modules().items() if room(name) == "tasks"}
    own = {folder.name for folder in folders} - {"tasks"}
    assert len(own) >= 2
    for name, path in modules().items():
        parts = name.split(".")
        if parts[0] == "tasks" and parts[1:2] and parts[1] in own:
            wrong = {
                o for o in ours(path) if o.split(".")[1:2] and o.split(".")[1] in own - {parts[1]}
            }
            assert not {o for o in wrong if room(o) == "tasks"}, name


def test_no_room_above_the_tasks_names_one():
    of_tasks = {
        "accuracy", "entity_f1", "entity_precision", "roc_auc", "sentences", "pixels", "tagging",
        "classification",
    }  # fmt: skip
    for name, path in modules().items():
        if ROOMS.index(room(name)) < ROOMS.index("tasks") and room(name) != "report":
            words = set(re.findall(r"[a-z0-9_]+", path.read_text(encoding="utf-8")))
            assert not words & of_tasks, name


def test_the_command_only_starts_a_run_and_reports_the_errors_of_the_user():
    assert ours(ROOT / "main.py") == {"modes.command"}
    assert ours(modules()["modes.command"]) == {"modes.run", "modes.flags", "errors"}


def test_config_files_import_ml_collections_alone():
    files = sorted((ROOT / "configs").glob("*.py"))
    assert files
    assert {name for path in files for name in imports(path)} == {"ml_collections"}


def test_pytorch_is_imported_nowhere_and_what_an_extra_brings_only_where_it_is_asked_for():
    heavy = {"tensorflow", "torch", "transformers", "clu", "pandas", "wandb", "mlflow", "optuna"}
    found = {
        (name, found.split(".")[0]) for name, path in modules().items() for found in imports(path)
    }
    assert {root for _, root in found} >= {"jax", "numpy"}
    assert {(name, root) for name, root in found if root in heavy} == {
        ("run_folder.writers", "tensorflow"),
        ("run_folder.writers", "clu"),
        ("run_folder.trackers", "wandb"),
        ("run_folder.trackers", "mlflow"),
        ("search.study", "optuna"),
        ("search.draw", "optuna"),
    }


def test_files_are_short_and_say_what_they_own():
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        assert name in LITERAL_DATA or text.count("\n") <= MAX_LINES, name
        if path.name != "__init__.py":
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
