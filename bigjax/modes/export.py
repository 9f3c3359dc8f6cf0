"""Owns `--mode=export`: a finished run as a Hugging Face folder, StableHLO or ONNX, verified."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bigjax.config.values import Config
from bigjax.engine.scorer import Scorer, build_scorer
from bigjax.errors import UserError
from bigjax.export import card, folder, huggingface, onnx, stablehlo, verify
from bigjax.inference import opening
from bigjax.run_folder.folder import environment
from bigjax.tasks.portable import Portable, Samples

FORMATS = {"huggingface": huggingface, "stablehlo": stablehlo, "onnx": onnx}
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
    scorer, missing = _scorer(opened.config, workdir=workdir)
    if scorer.task.use.portable is None:
        raise UserError(
            f"--mode=export: the task {scorer.task.name} does not say what of it can be"
        )
    portable = scorer.task.use.portable()
    variables, step = opening.variables_of(scorer, opened)
    params = portable.params(variables)
    with folder.new(asked.output) as made:
        print(f"{asked.format} of step {step} of {workdir}", flush=True)
        files = FORMATS[asked.format].write(made, portable, params)
        facts = _verified(made, portable, asked, params=params, missing=missing, files=files)
        proof = [verify.line(facts, things=portable.things)]
        print(proof[0], flush=True)
        if asked.quantize:
            facts["int8"] = _quantized(made, portable, asked, params=params, missing=missing)
            proof.append(facts["int8"]["told"])
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
    if asked.quantize and asked.format != "onnx":
        raise UserError(f"--quantize goes with --format=onnx, not with --format={asked.format}")
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


def _quantized(
    made: Path, portable: Portable, asked: Asked, *, params: Any, missing: str
) -> dict[str, Any]:
    """Puts the file into 8 bits; what it loses on all of dev.

    Raises:
      UserError: more than `max_loss` points, or it cannot be measured.
    """
    if missing:
        raise UserError(f"--quantize=int8: what it loses cannot be measured: {missing}")
    samples = portable.samples(params, SPLIT, None)
    python = asked.python
    before, full_size = _score(made, samples, python=python), _size(made)
    onnx.quantize(made)
    after, size = _score(made, samples, python=python), _size(made)
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


def _size(made: Path) -> float:
    return (made / onnx.FILE).stat().st_size / 2**20


def _use(portable: Portable, params: Any, *, format: str) -> card.Use:
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
