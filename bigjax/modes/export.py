"""Owns `--mode=export`: a finished run as a Hugging Face folder, adapters alone, StableHLO or ONNX,
verified."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.config.sections import Evaluation, Init
from bigjax.config.values import Config
from bigjax.engine.scorer import Scorer, build_scorer
from bigjax.errors import UserError
from bigjax.export import card, folder, huggingface, onnx, peft, stablehlo, verify
from bigjax.inference import opening
from bigjax.loop import starting_points
from bigjax.methods import int8
from bigjax.methods.int8 import Quantization
from bigjax.methods.lora import LoRA
from bigjax.methods.peft_files import Adapted
from bigjax.models import origins
from bigjax.run_folder.folder import environment
from bigjax.tasks.portable import Portable, Samples

FORMATS = {"huggingface": huggingface, "peft": peft, "stablehlo": stablehlo, "onnx": onnx}
SPLIT = "dev"


class Asked(NamedTuple):
    """The flags. quantize: "int8" or None. max_loss: points of the first score that it may cost.
    python: an interpreter that has the format's runtime. license: for the model card."""

    output: str | None = None
    format: str | None = None
    quantize: str | None = None
    max_loss: float = 0.5
    python: str = sys.executable
    license: str = "unknown"


def export(workdir: str, *, asked: Asked, overrides: Mapping[str, str]) -> Path:
    """Writes the run in `workdir` to the folder `asked.output`, which is whole and verified, or
    not there; returns it.

    Args:
      overrides: dotted setting -> text, as after --config.
    Raises:
      UserError: flags that do not go together, no checkpoint, a task or model that cannot be
        exported, or one that came out as another.
    """
    check(asked)
    folder.check(asked.output)
    if not opening.is_run(workdir):
        raise UserError(f"--workdir={workdir}: is no run; expected the folder of a finished one")
    opened = opening.open_trained(workdir, overrides=overrides)
    if opened.config.of(Quantization).weights != "none":
        raise UserError("--mode=export: quantize.weights is for use here; --quantize=int8 exports")
    scorer, missing = _scorer(opened.config, workdir=workdir)
    if scorer.task.use.portable is None:
        raise UserError(
            f"--mode=export: the task {scorer.task.name} does not say what of it can be"
        )
    portable = scorer.task.use.portable()
    variables, step = opening.variables_of(scorer, opened)
    params = portable.params(variables)
    eight = None
    if asked.quantize and asked.format == "stablehlo":
        portable, params, eight = _in_int8(portable, params, asked, missing=missing)
    more = (_adapted(scorer, opened, portable),) if asked.format == "peft" else ()
    with folder.new(asked.output) as made:
        print(f"{asked.format} of step {step} of {workdir}", flush=True)
        files = FORMATS[asked.format].write(made, portable, params, *more)
        facts = _verified(made, portable, asked, params=params, missing=missing, files=files)
        proof = [verify.line(facts, things=portable.things)]
        print(proof[0], flush=True)
        if asked.quantize:
            eight = eight or _quantized(made, portable, asked, params=params, missing=missing)
            facts["int8"] = eight
            proof.append(eight["told"])
        use = _use(portable, params, format=asked.format)
        told = card.text(workdir, step=step, use=use, proof=proof, license=asked.license)
        (made / "README.md").write_text(told, encoding="utf-8")
        record = {"format": asked.format, "step": step, "proof": facts}
        versions = environment()["packages"]
        folder.write_record(made, {**record, "packages": versions}, version=versions.get("bigjax"))
    size = sum(path.stat().st_size for path in Path(asked.output).rglob("*") if path.is_file())
    print(f"written: {asked.output}, {size / 2**20:,.1f} MiB", flush=True)
    return Path(asked.output)


def check(asked: Asked) -> None:
    """Raises UserError where flags are missing or do not go together."""
    if asked.format not in FORMATS:
        raise UserError(f"--mode=export needs --format: {', '.join(FORMATS)}")
    if not asked.output:
        raise UserError("--mode=export needs --output=DIR, the folder to write")
    if asked.quantize and asked.format not in ("onnx", "stablehlo"):
        raise UserError(
            f"--quantize goes with --format=onnx or stablehlo, not with --format={asked.format}"
        )
    if not asked.max_loss >= 0:
        raise UserError(f"--max_loss={asked.max_loss}: expected 0 or more points")


def _scorer(config: Config, *, workdir: str) -> tuple[Scorer, str]:
    """With dev, or without it and why: what is exported is in the run's folder."""
    try:
        scorer = build_scorer(config, folder=workdir, splits=(SPLIT,))
        there = SPLIT in scorer.task.data.evals
        return scorer, "" if there else f"the run has no {SPLIT} split to try it on"
    except UserError as error:
        scorer = build_scorer(config, folder=workdir, splits=())
        return scorer, f"its {SPLIT} split cannot be read: {error}"


def _adapted(scorer: Scorer, opened: opening.Opened, portable: Portable) -> Adapted:
    """What was trained and its base; UserError where the run has no adapters."""
    if scorer.saved is None:
        raise UserError(
            f"--format=peft: {opened.folder} was trained without adapters (lora.rank=none); "
            "--format=huggingface exports the whole model"
        )
    which = opened.config.of(Evaluation).final
    variables, frozen, _ = starting_points.saved(scorer, workdir=opened.folder, which=which)
    checkpoint, settings = opened.config.of(Init).checkpoint, opened.config.of(LoRA)
    found = Adapted(
        portable.params(variables),
        portable.params({"params": frozen["base"]}),
        settings.rank or 0,
        settings.alpha,
    )
    if checkpoint is None or origins.run_of(checkpoint) is not None:
        return found
    try:
        base, source = origins.find_folder(checkpoint)
    except UserError:  # it is gone: the base travels along
        return found
    if source == checkpoint:  # a folder, or the installed weights
        return found._replace(source=os.path.abspath(base))
    name, _, revision = source.partition("@")
    return found._replace(source=name, revision=revision)


def _verified(
    made: Path,
    portable: Portable,
    asked: Asked,
    *,
    params: Any,
    missing: str,
    files: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    if missing:
        return {"verified": False, "reason": missing}
    try:
        return verify.verify(
            made,
            portable,
            params=params,
            samples=portable.samples(params, SPLIT, verify.NUM_EXAMPLES),
            python=asked.python,
            files=files,
        )
    except verify.RuntimeMissing as error:
        how = FORMATS[asked.format].INSTALL
        return {"verified": False, "reason": f"its runtime is not installed here ({error}): {how}"}


def _in_int8(
    portable: Portable, params: Any, asked: Asked, *, missing: str
) -> tuple[Portable, Any, dict[str, Any]]:
    """The function of weights in 8 bits, these, and what they lose on all of dev.

    Raises:
      UserError: more than `max_loss` points, or it cannot be measured.
    """
    found, small = int8.portable(portable, params)
    samples = _all_of_dev(portable, params, missing=missing)
    before, after = (
        float(samples.score(verify.reference(one, params=of, batches=samples.batches)))
        for one, of in ((portable, params), (found, small))
    )
    sizes = (sum(np.asarray(x).nbytes for x in jax.tree.leaves(of)) for of in (params, small))
    return found, small, _lost(samples, portable, asked, (before, after), sizes)


def _quantized(
    made: Path, portable: Portable, asked: Asked, *, params: Any, missing: str
) -> dict[str, Any]:
    """Puts the file into 8 bits; what it loses on all of dev.

    Raises:
      UserError: more than `max_loss` points, or it cannot be measured.
    """
    samples = _all_of_dev(portable, params, missing=missing)
    python = asked.python
    before, full_size = _score(made, samples, python=python), _size(made)
    onnx.quantize(made)
    after, size = _score(made, samples, python=python), _size(made)
    return _lost(samples, portable, asked, (before, after), (full_size, size))


def _all_of_dev(portable: Portable, params: Any, *, missing: str) -> Samples:
    if missing:
        raise UserError(f"--quantize=int8: what it loses cannot be measured: {missing}")
    return portable.samples(params, SPLIT, None)


def _lost(
    samples: Samples,
    portable: Portable,
    asked: Asked,
    scores: tuple[float, float],
    sizes: Iterable[float],
) -> dict[str, Any]:
    """Says it, for the record; UserError where it is too much. sizes: in bytes."""
    (before, after), (full_size, size) = scores, (x / 2**20 for x in sizes)
    lost = 100 * (before - after)
    told = (
        f"int8: {lost:+.2f} points lost on the {len(samples.given):,} {portable.things} of {SPLIT} "
        f"({before:.4f} before, {after:.4f} after); {full_size:.1f} MiB before, {size:.1f} after"
    )
    print(told, flush=True)
    if not lost <= asked.max_loss:
        raise UserError(
            f"--quantize=int8 costs {lost:.2f} points, more than --max_loss={asked.max_loss:g}; "
            "nothing was written; allow more, or export without it"
        )
    return {"before": before, "after": after, "lost_points": lost, "told": told}


def _score(made: Path, samples: Samples, *, python: str) -> float:
    calls = [verify.Call(batch) for batch in samples.batches]
    try:
        return float(samples.score(verify.run(made, calls, given=(), python=python).outputs))
    except verify.RuntimeMissing as error:
        raise UserError(
            f"--quantize=int8: what it loses cannot be measured ({error}): {onnx.INSTALL}"
        ) from error


def _size(made: Path) -> int:
    return (made / onnx.FILE).stat().st_size


def _use(portable: Portable, params: Any, *, format: str) -> card.Use:
    if format == "peft":
        found = portable.huggingface(params)
        return card.Use("peft", found.pipeline, peft.usage(found), found.note)
    if format == "huggingface":
        found = portable.huggingface(params)
        return card.Use("transformers", found.pipeline, found.usage, found.note)
    call: Sequence[str] = [f"{name}=..." for name in portable.inputs]
    shapes = "; ".join(
        f"{name}: {found.dtype} ({', '.join(map(str, found.dims))})"
        for name, found in portable.inputs.items()
    )
    code = (
        f"import example  # example.py of this folder\n\nexample.run({', '.join(call)})  # logits"
    )
    outputs = ", ".join(map(str, portable.outputs))
    return card.Use(
        "jax" if format == "stablehlo" else "onnx",
        None,
        code,
        f"Takes {shapes}; gives logits, float32 ({outputs}).",
    )
