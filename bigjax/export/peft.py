"""Owns the export of adapters alone, which the `peft` library puts onto their base."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from bigjax.errors import UserError
from bigjax.methods import peft_files
from bigjax.methods.peft_files import Adapted
from bigjax.tasks.portable import Folder, Portable
from bigjax.trees import flatten, nested

INSTALL = (
    "pip install torch transformers peft, or name a Python that has them with --runtime=PYTHON"
)
BASE = "base"  # in the folder, where the base is no model of Hugging Face's
_LOADED = re.compile(r"^model = (\w+)\.from_pretrained\(HERE\)", re.MULTILINE)
_WITH_BASE = """\
adapter = json.loads((HERE / "adapter_config.json").read_text(encoding="utf-8"))
base = adapter["base_model_name_or_path"]
base = HERE / base if (HERE / base).is_dir() else base
config, revision = AutoConfig.from_pretrained(HERE), adapter["revision"] or "main"
model = {kind}.from_pretrained(base, config=config, revision=revision)
model = PeftModel.from_pretrained(model, HERE)"""


def write(
    folder: Path, portable: Portable, params: Any, adapted: Adapted
) -> Mapping[str, Mapping[str, int]]:
    """Writes the folder; UserError where transformers has no such model."""
    found = portable.huggingface(params)
    names = peft_files.their_names(portable, params)
    arrays, modules = peft_files.arrays_of(adapted, names=names)
    save_file(arrays, folder / peft_files.WEIGHTS, metadata={"format": "pt"})
    base = adapted.source
    if base is None:
        base = BASE
        whole = nested({**flatten(params), **flatten(adapted.base)})
        (folder / BASE).mkdir()
        of_base = portable.huggingface(whole)
        save_file(dict(of_base.arrays), folder / BASE / "model.safetensors", {"format": "pt"})
        (folder / BASE / "config.json").write_text(_json(found.config), encoding="utf-8")
    said = {"arrays": list(arrays), "modules": modules, "base": base}
    files = {
        peft_files.CONFIG: _json(peft_files.config_of(adapted, found, **said)),
        "config.json": _json(found.config),
        "example.py": _example(found),
        **found.files,
    }
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return {}


def usage(folder: Folder) -> str:
    """Python for the model card: that of `example.py`, which puts adapters onto their base."""
    return f"import example  # of this folder\n\nexample.model  # {folder.pipeline}\n"


def _example(folder: Folder) -> str:
    if not _LOADED.search(folder.example):
        raise UserError("--format=peft: this task's example does not load a model of transformers")
    with_base = lambda match: _WITH_BASE.format(kind=match[1])  # noqa: E731
    code = _LOADED.sub(with_base, folder.example)
    imports = "from peft import PeftModel\nfrom transformers import AutoConfig, "
    return code.replace("from transformers import ", imports, 1)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
