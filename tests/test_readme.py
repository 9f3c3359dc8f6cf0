"""The README's commands parse, its settings exist and its links lead somewhere."""

import re
import shlex

import pytest
from conftest import ROOT

from bigjax.config import values
from bigjax.engine import settings
from bigjax.modes import command
from bigjax.modes.flags import misplaced

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """The arguments of every `python main.py ...` of the README's code blocks and tables."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    blocks += re.findall(r"`(python main\.py [^`]+)`", README)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    return [shlex.split(part.split("main.py", 1)[1]) for part in parts if "main.py" in part]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_of_the_readme_names_a_config_that_resolves(arguments: list[str]) -> None:
    parsed, rest = command.parse(arguments)
    flags = command.flags_of(parsed)
    assert misplaced(flags) is None and all(a.startswith("--config.") for a in rest)
    overrides = values.parse_overrides(rest)
    if flags.config is None:  # the settings are those of the run
        assert flags.mode not in ("train", "check", "search", "verify_resume")
        return
    file = flags.config
    found = values.load(str(ROOT / file), overrides=overrides, schema=settings.schema)
    settings.check_together(found)


def test_every_setting_of_the_readme_is_one() -> None:
    mentioned = re.findall(r"`((?:[a-z]+\.)?[a-z_]+)=(?:\"(.*?)\"|([^`\s,]+))`", README)
    assert len(mentioned) >= 10
    for key, quoted, plain in mentioned:
        overrides = {key: quoted or plain}
        if key in ("batch.rows", "batch.tokens"):
            overrides["batch.examples"] = "None"
        of_images = key.startswith("augment.") or key == "loss.class_weights"
        file = ROOT / "configs" / ("cnn_digits.py" if of_images else "bert_ner.py")
        found = values.load(str(file), overrides=overrides, schema=settings.schema)
        settings.check_together(found)


def test_every_relative_link_of_the_documents_leads_to_a_file() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
        for link in links:
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_ci_runs_the_readmes_test_command_and_what_that_leaves_out() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "<!-- tests -->" in script and "-m pytest -m slow" in script
    block = README.split("<!-- tests -->")[1].split("```bash\n")[1].split("```")[0]
    assert "-m pytest" in block


def test_no_placeholder_is_left_in_the_documents() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert not re.search(r"@[A-Z_]+@", document.read_text(encoding="utf-8")), document.name
