"""Owns a finished run of some seconds that other tests use: a tagger trained from given weights on
files, both of which are then gone."""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from tiny_runs import one_device

from bigjax.config import values as configs
from bigjax.engine import settings, sharding
from bigjax.modes import train

WORDS = {"Anna": "B-PER", "Paris": "B-LOC", "met": "O", "in": "O", "Bob": "B-PER", "Rome": "B-LOC"}


def write_conll(path: Path, *, num_sentences: int) -> str:
    lines = []
    for i in range(num_sentences):
        words = [list(WORDS)[(i * k + k) % len(WORDS)] for k in range(1, 5)]
        lines += [f"{word} {WORDS[word]}" for word in words] + [""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def finished_tagger(
    folder: Path, *, tiny_bert: str
) -> tuple[Path, configs.Config, dict[str, float]]:
    """The folder of the run, its config and its scores."""
    weights = shutil.copytree(tiny_bert, folder / "weights")
    overrides = {
        "num_epochs": "none",
        "eval.every_epochs": "none",
        "optim.learning_rate": "0.02",
        "num_steps": "9",
        "eval.every_steps": "3",
        "text.row_length": "32",
        "init.checkpoint": str(weights),
        "optim.param_dtype_rules": "(('.*word/.*', 'bfloat16'), ('.*', 'float32'))",
        "ema_decay": "0.5",
        "data.train": write_conll(folder / "train.conll", num_sentences=40),
        "data.dev": write_conll(folder / "dev.conll", num_sentences=10),
        "data.test": write_conll(folder / "test.conll", num_sentences=7),
    }
    file = f"{ROOT}/configs/bert_ner.py:files"
    config = configs.load(file, overrides=overrides, schema=settings.schema)
    workdir = folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one_device)
        scores = train.train(config, workdir=str(workdir))
    shutil.rmtree(weights)
    (folder / "train.conll").unlink()
    return workdir, config, scores
