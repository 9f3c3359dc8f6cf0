"""What a run records about the code and the machine that made it."""

import subprocess

import pytest
from conftest import ROOT

from bigjax.run_folder import folder


def test_the_commit_of_the_code_is_recorded():
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert folder.environment()["git_commit"].removesuffix("+") == head
