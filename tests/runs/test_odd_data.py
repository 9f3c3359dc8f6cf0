"""Whole runs over little data, and over data that is hardly meant: they end well and say so, or are
refused in one line."""

import json
import os
import re
import string
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from tiny_runs import one_device

from bigjax.checkpoints import manifest
from bigjax.config import values as configs
from bigjax.engine import build, settings, sharding
from bigjax.errors import UserError
from bigjax.loop import loop
from bigjax.modes import check, train

sys.path.insert(0, str(ROOT))  # main.py is a script beside the package
import main  # noqa: E402

EVERY_STEP = {
    "log.every_steps": "1",
    "eval.every_epochs": "none",
    "eval.every_steps": "1",
    "checkpoint.every_minutes": "none",
}
TAGGING = EVERY_STEP | {
    "init.checkpoint": "none",
    "text.vocab_size": "64",
    "text.row_length": "16",
    "model.num_layers": "1",
    "model.hidden_size": "16",
    "model.num_heads": "2",
    "model.mlp_size": "32",
    "schedule.warmup_fraction": "none",
}
IMAGES = EVERY_STEP | {
    "num_epochs": "none",
    "num_steps": "2",
    "data.dev_fraction": "0",
    "data.image_size": "8",
    "augment.pad_crop": "0",
    "model.widths": "(8, 8)",
    "batch.rows": "4",
}


@pytest.fixture(autouse=True)
def _on_one_device(monkeypatch):
    monkeypatch.setattr(sharding, "make_mesh", one_device)


def load(file: str, overrides: dict[str, str]) -> configs.Config:
    return configs.load(f"{ROOT}/configs/{file}", overrides=overrides, schema=settings.schema)


def tagging(folder: Path, *, train: str, dev: str = "a O\n", **overrides: str) -> configs.Config:
    """The config of a small run over these CoNLL files."""
    given = TAGGING | {key.replace("__", "."): value for key, value in overrides.items()}
    for split, text in (("train", train), ("dev", dev)):
        path = folder / f"{split}.conll"
        path.write_text(text, encoding="utf-8")
        given[f"data.{split}"] = str(path)
    return load("bert_ner.py:files", given)


def write_images(folder: Path, *, classes: Sequence[str] = ("cat", "dog"), num: int = 4) -> Path:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(num):
            rng = np.random.default_rng(100 * number + i)
            pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def images(folder: Path, **overrides: str) -> configs.Config:
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return load("cnn_folder.py", IMAGES | {"data.train": str(folder)} | given)


def curve(workdir: Path, name: str) -> dict[int, float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line[name] for line in lines if name in line}


# --- little data ----------------------------------------------------------------------------------


def test_three_sentences_in_three_epochs_are_three_updates_and_two_checkpoints_stay(
    tmp_path, capsys
):
    """Of a batch of 32 sentences there are three; of two checkpoints the older is what is left
    where the newest is damaged. And a tag of dev alone is a warning, and in the report."""
    sentences = "John B-PER\nsleeps O\n\nMary B-PER\nsings O\n\nJohn B-PER\n\n"
    dev = "John B-PER\nlikes O\nRome B-LOC\n\n"
    config = tagging(tmp_path, train=sentences, dev=dev, num_epochs="3.0")
    scores = train.train(config, workdir=str(tmp_path / "run"))
    assert list(curve(tmp_path / "run", "train/loss")) == [1, 2, 3]
    assert {"2", "3"} <= set(os.listdir(tmp_path / "run" / "checkpoints"))
    assert np.isfinite(list(scores.values())).all()
    warning = "dev has tags that no word of train has, which cannot be learnt: B-LOC (1)"
    assert f"warning: {warning}\n" in capsys.readouterr().err
    report = json.loads((tmp_path / "run" / "data_report.json").read_text())
    assert ["warning", warning] in report["rows"]
    serious = [found["what"] for found in report["findings"] if found["serious"]]
    assert serious == ["dev: tags that train lacks"]
    path = f"{tmp_path}/dev.conll:1"
    assert f"{path}: B-LOC (1)" in (tmp_path / "run" / "report.html").read_text()


def test_a_check_prints_what_deserves_a_look_and_strict_fails_where_it_is_serious(
    tmp_path, capsys, monkeypatch
):
    setups = []
    monkeypatch.setattr(
        check, "build", lambda given: setups.append(build.build(given)) or setups[-1]
    )

    def check_of(*flags: str, dev: str) -> tuple[int, str, str]:
        sentences = "".join(f"John B-PER\nsings O\nx{i} O\n\n" for i in range(5))
        settings = {**TAGGING, "data.train": "train.conll", "data.dev": "dev.conll"}
        for split, text in (("train", sentences), ("dev", dev)):
            path = tmp_path / f"{split}.conll"
            path.write_text(text, encoding="utf-8")
            settings[f"data.{split}"] = str(path)
        given = [f"--config.{key}={value}" for key, value in settings.items()]
        config = f"--config={ROOT}/configs/bert_ner.py:files"
        code = main.main(["--mode=check", config, *flags, *given])
        return code, *capsys.readouterr()

    leak = "John B-PER\nsings O\nx3 O\n\n" + "Al B-PER\nsays O\n\n" * 4
    code, out, err = check_of("--strict", dev=leak)
    assert code == 2
    assert f"  {tmp_path}/dev.conll:1 = {tmp_path}/train.conll:13: 'John sings x3'\n" in out
    assert "between devices" in out, "all that is known, before the error"
    line = "dev: sentences that train has too (1); they are above, marked !"
    assert err == f"error: --strict: serious: {line}\n"
    with monkeypatch.context() as patch:
        patch.setattr(check, "build", lambda _: setups[0])
        code, again, err = check_of(dev=leak)
    assert (code, err) == (0, "") and out.endswith(again)
    code, out, err = check_of("--strict", dev="Al B-PER\nsays O\n\n" * 5)
    assert (code, err) == (0, ""), "duplicates are no more than a note"
    assert "  4  dev: sentences that were there before\n" in out


def test_a_run_with_neither_dev_nor_test_ends_well_with_a_report(tmp_path, capsys):
    config = images(write_images(tmp_path / "images"))
    assert train.train(config, workdir=str(tmp_path / "run")) == {}
    assert "finished at step 2; no split to score" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "results.json").read_text())["scores"] == {}
    assert "Training curves" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("setting", ["patience", "target"])
def test_a_run_that_dev_would_end_is_one_line_without_a_dev_split(tmp_path, setting):
    config = images(write_images(tmp_path / "images"), **{f"eval__{setting}": "2"})
    with pytest.raises(UserError, match=f"eval.{setting}=2.*: there is no dev split to go by"):
        build.build(config)


# --- batches in which nothing counts --------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentences", "weights"),
    [
        ("a O\n" * 8 + "\nb B-PER\n\n", "(0.0, 1.0, 1.0)"),
        (f"{string.ascii_lowercase * 3} B-PER\n\nb O\n\n", "none"),
    ],
    ids=["a tag of weight 0", "the continuation of a long word"],
)
def test_a_batch_in_which_nothing_counts_ends_no_run(tmp_path, sentences, weights):
    """One row a batch. Its loss is of nothing, which is no number, and it changes nothing."""
    config = tagging(
        tmp_path,
        train=sentences,
        num_epochs="1.0",
        batch__examples="none",
        batch__rows="1",
        loss__class_weights=weights,
        text__row_length="10",
        text__vocab_size="32",
    )
    train.train(config, workdir=str(tmp_path / "run"))
    losses = curve(tmp_path / "run", "train/loss")
    norms = curve(tmp_path / "run", "train/grad_norm")
    empty = [step for step, loss in losses.items() if loss is None]
    assert 0 < len(empty) < len(losses)
    assert all((norms[step] == 0) == (step in empty) for step in losses)


# --- a score that is no number --------------------------------------------------------------------


@pytest.mark.parametrize(("num_bad", "best"), [(1, 2), (9, None)])
def test_a_dev_score_that_is_nan_is_never_best_and_the_run_ends_well(
    tmp_path, monkeypatch, num_bad, best
):
    evaluate, calls = loop.evaluate, iter(range(99))

    def sometimes_nan(*args, **kwargs):
        found = evaluate(*args, **kwargs)
        bad = dict.fromkeys(found.scalars, np.nan) if next(calls) < num_bad else {}
        return found._replace(scalars=found.scalars | bad)

    monkeypatch.setattr(loop, "evaluate", sometimes_nan)
    sentences = "John B-PER\n\nred O\n\n"
    config = tagging(
        tmp_path, train=sentences, dev=sentences, num_epochs="none", num_steps="2",
        eval__patience="5",
    )  # fmt: skip
    train.train(config, workdir=str(tmp_path / "run"))
    facts = manifest.read(str(tmp_path / "run" / "checkpoints" / "2")).facts
    assert facts["best_step"] == best
    assert json.loads((tmp_path / "run" / "results.json").read_text())["step"] == 2


# --- what changes in the middle of a run ----------------------------------------------------------


def test_another_image_size_in_the_middle_of_a_run_is_refused(tmp_path):
    folder = write_images(tmp_path / "images")
    train.train(images(folder, num_steps="1"), workdir=str(tmp_path / "run"))
    for allowed in (False, True):
        with pytest.raises(UserError, match=r"image_shape\.txt: is not what this config"):
            train.train(
                images(folder, num_steps="1", data__image_size="6"),
                workdir=str(tmp_path / "run"),
                allow_config_change=allowed,
            )


# --- long sentences -------------------------------------------------------------------------------


def test_a_book_as_one_sentence_is_a_batch_of_windows_like_any_other(tmp_path, capsys):
    words = "".join(f"word{i % 50} O\n" for i in range(20_000))
    check.check(tagging(tmp_path, train=words + "\nJohn B-PER\n\n", num_epochs="1.0"))
    printed = capsys.readouterr().out
    (peak,) = re.findall(r"^  peak of an update +([\d,.]+) MiB$", printed, re.MULTILINE)
    assert float(peak.replace(",", "")) < 50
    assert re.search(r"^  batch +3\d rows, ", printed, re.MULTILINE)
    assert "longest: 20,000" in printed


# --- names of files -------------------------------------------------------------------------------


@pytest.fixture
def latin(tmp_path) -> Path:
    """A folder whose name is bytes that are no UTF-8, as are those of a class and of its images."""
    folder = tmp_path / os.fsdecode(b"donn\xe9es")
    write_images(folder, classes=(os.fsdecode(b"ch\xe2t"), "dog"))
    for path in list(folder.rglob("*.png")):
        path.rename(path.with_name(os.fsdecode(b"\xe9 ") + path.name))
    return folder


def flags(folder: Path, *, workdir: Path) -> list[str]:
    given = IMAGES | {"data.train": str(folder), "data.dev_fraction": "0.25"}
    file = f"--config={ROOT}/configs/cnn_folder.py"
    return [file, f"--workdir={workdir}", *(f"--config.{key}={x}" for key, x in given.items())]


def test_names_that_are_not_utf_8_go_through_a_whole_run(latin, tmp_path, capsys):
    workdir = tmp_path / "run"
    arguments = flags(latin, workdir=workdir)
    assert main.main(arguments) == 0
    assert main.main(arguments) == 0, "which goes on, as the names are the same"
    assert main.main(["--mode=evaluate", f"--workdir={workdir}"]) == 0
    assert main.main([*arguments, "--mode=check"]) == 0
    assert r"donn\udce9es" in capsys.readouterr().out
    record = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    assert record["values"]["data.train"] == str(latin)
    assert (workdir / "classes.txt").read_bytes() == b"ch\xe2t\ndog\n"
    assert "ch?t" in (workdir / "report.html").read_text(encoding="utf-8")


def test_a_folder_of_a_run_whose_name_is_not_utf_8_is_one_line(latin, capsys):
    assert main.main(flags(latin, workdir=latin / "run")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"error: --workdir=.*: its path is not UTF-8; give a folder .*", line)
