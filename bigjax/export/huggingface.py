"""Owns the export that transformers loads: weights, config and tokenizer as the task names them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from bigjax.tasks.portable import Portable

INSTALL = "pip install torch transformers, or name a Python that has both with --runtime=PYTHON"


def write(folder: Path, portable: Portable, params: Any) -> Mapping[str, Mapping[str, int]]:
    """Writes the folder; UserError where transformers has no such model."""
    found = portable.huggingface(params)
    save_file(dict(found.arrays), folder / "model.safetensors", metadata={"format": "pt"})
    for name, arrays in found.beside.items():
        save_file(dict(arrays), folder / name)
    config = json.dumps(found.config, indent=1, ensure_ascii=False) + "\n"
    for name, content in {
        "config.json": config,
        "example.py": found.example,
        **found.files,
    }.items():
        (folder / name).write_text(content, encoding="utf-8")
    return {}
