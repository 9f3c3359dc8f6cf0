"""That benchmarks, which no other test runs, still fit what they measure."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


def ours(tree: ast.Module) -> dict[str, Any]:
    """What the names that a file imports from bigjax, anywhere in it, stand for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bigjax":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


def misfits(tree: ast.Module) -> list[str]:
    """Attributes of our modules that do not exist, and calls that our functions do not take."""
    names, wrong = ours(tree), set()

    def meant(node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = meant(node.value)
            if inspect.ismodule(owner) and not hasattr(owner, node.attr):
                wrong.add(f"line {node.lineno}: {owner.__name__} has no {node.attr}")
            return getattr(owner, node.attr, None) if inspect.ismodule(owner) else None
        return None

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            meant(node)
        elif isinstance(node, ast.Call) and callable(called := meant(node.func)):
            starred = any(isinstance(one, ast.Starred) for one in node.args)
            given = {one.arg: None for one in node.keywords}
            bind = inspect.signature(called).bind
            if starred or None in given:
                bind, given = inspect.signature(called).bind_partial, {k: 0 for k in given if k}
            try:
                bind(*([] if starred else node.args), **given)
            except TypeError as error:
                wrong.add(f"line {node.lineno}: {called.__name__}: {error}")
    return sorted(wrong)


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_calls_is_there_and_takes_what_it_is_given(path: Path):
    assert misfits(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_what_does_not_fit_is_found():
    program = """
def one():
    from bigjax.engine import collectives, build
    from bigjax.errors import nearest as close
    collectives.in_order(1)
    build.build()
    close("a", valid=[], other=2)
    close("a", ["b"])
"""
    found = misfits(ast.parse(program))
    assert [line.split(":")[0] for line in found] == ["line 5", "line 6", "line 7"]


@pytest.mark.slow
def test_step_time_prints_a_row_for_each_dispatch_size():
    command = [sys.executable, ROOT / "benchmarks" / "step_time.py", "small"]
    command += ["--dispatch", "1", "2", "--updates=2", "--rounds=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["1", "2"]
    assert all(float(row[1]) > 0 for row in rows)
