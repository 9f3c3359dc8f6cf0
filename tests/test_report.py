"""The report, from a run folder that looks like a real one."""

import json
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bigjax import report
from bigjax.errors import UserError

TYPES = ["LOC", "MISC", "ORG", "PER"]
LONG = (
    "The agreement that the ministers of the Northern Council signed in Reykjavík on Tuesday after "
    "two weeks of talks , which had twice been broken off and once moved from Oslo to Tromsø because "
    "of a strike at the airport , gives the fishing towns of Lofoten and the harbour board of Ålesund "
    "a say in how the quotas are shared , a point that Ingrid Halvorsen of the Coast Party had made "
    "her own since the spring , and obliges the Bank of Norway to publish , each quarter , what the "
    "fleet owes , what it earns , and how much of it flies the flag of Panama or Liberia ."
).split()
PAYLOAD = "<script>alert('x')</script>\"&<img src=http://example.com/x>"


def fake_metrics(num_steps: int) -> list[dict]:
    draw = random.Random(0)
    lines = []
    for step in range(1, num_steps + 1):
        t = step / num_steps
        loss = 0.05 + 1.7 * math.exp(-7 * t) + draw.gauss(0, 0.05) * (0.3 + math.exp(-5 * t))
        line = {
            "step": step,
            "train/loss": max(loss, 0.004),
            "train/learning_rate": 5e-5 * min(10 * t, (1 - t) / 0.9),
            "train/grad_norm": 1 + 6 * math.exp(-5 * t) + abs(draw.gauss(0, 0.6)),
            "train/sentences_per_second": 0.4 if step == 1 else 61 + draw.gauss(0, 2),
            "train/tokens_per_second": 12.0 if step == 1 else 1830 + draw.gauss(0, 60),
            "train/fill": 0.93 + draw.gauss(0, 0.015),
            "train/input_wait": abs(draw.gauss(0.004, 0.002)),
            "train/flops_per_second": 2.1e11 + draw.gauss(0, 4e9),
        }
        if step % max(1, num_steps // 10) == 0:
            line["dev/loss"] = 0.13 + 1.2 * math.exp(-8 * t)
            for name, top in (("f1", 0.91), ("precision", 0.9), ("recall", 0.92)):
                line[f"dev/entity_{name}"] = top * (1 - math.exp(-9 * t)) + draw.gauss(0, 0.004)
        lines.append(line)
    return lines


def span(start: int, end: int, type: str) -> list:
    return [start, end, type]


def fake_results() -> dict:
    short = "Anna Lindqvist of Volvo Cars met the mayor of Göteborg in New York City .".split()
    item = {
        "words": short,
        "gold": [span(0, 2, "PER"), span(3, 5, "ORG"), span(9, 10, "LOC"), span(11, 14, "LOC")],
        "predicted": [span(0, 2, "PER"), span(3, 4, "ORG"), span(7, 8, "PER"), span(11, 14, "ORG")],
        "caption": "dev sentence 12, loss 3.2",
    }
    long = {
        "words": LONG,
        "gold": [span(7, 9, "ORG"), span(11, 12, "LOC"), span(29, 30, "LOC"), span(31, 32, "LOC")],
        "predicted": [span(6, 9, "ORG"), span(11, 12, "LOC"), span(29, 30, "PER")],
        "caption": "dev sentence 804, loss 7.9",
    }
    rows = [[t, 0.91 - i / 50, 0.93 - i / 40, 0.92 - i / 45, 1200 - 210 * i] for i, t in enumerate(TYPES)]
    counts = [
        [41850, 120, 96, 210, 61],
        [88, 1043, 21, 64, 9],
        [70, 18, 611, 33, 12],
        [140, 71, 40, 902, 17],
        [35, 4, 6, 0, 1110],
    ]
    return {
        "task": "token_tagging",
        "title": "BERT base on WikiANN, Swedish",
        "scores": {
            "test/entity_f1": 0.9123,
            "test/entity_precision": 0.9081,
            "test/entity_recall": 0.9166,
            "dev/entity_f1": 0.9151,
            "dev/entity_precision": 0.9120,
            "dev/entity_recall": 0.9183,
            "dev/loss": 0.1301,
        },
        "headline": ["test/entity_f1", "test/entity_precision", "test/entity_recall"],
        "step": 300,
        "sections": [
            {
                "kind": "facts",
                "title": "Data",
                "rows": [
                    ["source", "WikiANN, Swedish, version 1.0.0"],
                    ["train sentences", 20000],
                    ["longest_sentence", 127],
                    ["tags", ["O", *(f"{p}-{t}" for t in TYPES[:3] for p in "BI")]],
                    ["sentences by split", {"train": 20000, "dev": 10000, "test": 10000}],
                    ["removed", None],
                ],
            },
            {
                "kind": "table",
                "title": "Scores by entity type",
                "note": "On test; a span counts where both its boundaries and its type are right.",
                "columns": ["type", "precision", "recall", "F1", "support"],
                "rows": rows,
            },
            {"kind": "confusion", "title": "Words, gold by predicted", "labels": ["O", *TYPES], "counts": counts},
            {
                "kind": "tagged_text",
                "title": "Worst errors",
                "note": "The ten sentences of dev with the highest loss.",
                "items": [long, *(item for _ in range(9))],
            },
        ],
    }


def fake_config() -> dict:
    values = {
        "task": "token_tagging",
        "seed": 0,
        "num_train_steps": 300,
        "model.name": "bert",
        "model.pretrained": "gs://bucket/some/long/path/to/a/checkpoint/bert_base_multilingual_cased",
        "model.dropout_rate": 0.1,
        "optim.learning_rate": 5e-5,
        "optim.warmup_steps": 30,
        "optim.rules": [["embeddings/.*", 0.0], [".*bias", 0.0]],
        "data.source": "tfds:wikiann/sv",
        "data.batch_size": 32,
        "data.max_length": 128,
        "eval.every_steps": 30,
        "eval.best": None,
        "mesh.data": -1,
    }
    origins = dict.fromkeys(values, "file")
    origins |= {"data.source": "variant", "optim.learning_rate": "override", "mesh.data": "default"}
    return {"values": values, "origins": origins, "file": "configs/bert_ner.py:wikiann"}


def fake_environment() -> dict:
    return {
        "python": "3.11.9",
        "packages": {"jax": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "numpy": "2.3.1"},
        "git_commit": "3f1c9a7d0b5e4a6f8c2d1e0f9a8b7c6d5e4f3a2b",
        "devices": [f"tpu:{i}" for i in range(16)],
        "platform": "Linux x86_64",
        "command": "python main.py --config=configs/bert_ner.py:wikiann --workdir=runs/a",
        "data_fingerprint": {"train": "9f86d081884c7d659a2feaa0c55ad015" * 2, "dev": "60303ae2" * 8},
    }


def fake_run(
    folder: Path,
    *,
    num_steps: int = 300,
    results: dict | None = None,
    config: dict | None = None,
    environment: dict | None = None,
) -> str:
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(line) + "\n" for line in fake_metrics(num_steps))
    (folder / "metrics.jsonl").write_text(lines)
    (folder / "results.json").write_text(json.dumps(results or fake_results()))
    (folder / "config.json").write_text(json.dumps(config or fake_config()))
    (folder / "environment.json").write_text(json.dumps(environment or fake_environment()))
    return str(folder)
