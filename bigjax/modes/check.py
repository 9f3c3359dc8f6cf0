"""Owns `--mode=check`: everything that can be known of a run before training it."""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax

from bigjax.config.ranges import Range
from bigjax.config.sections import Batch
from bigjax.config.values import Config
from bigjax.engine import collectives, cost
from bigjax.engine.build import Setup, build, duration, num_params
from bigjax.errors import UserError
from bigjax.processes import distributed
from bigjax.tasks.task import Finding
from bigjax.trees import leaf_names

CPU_PLAN = "a CPU's plan: bfloat16 goes as float32, a reduce-scatter as an all-reduce and a slice"


def check(config: Config, *, strict: bool = False) -> None:
    """Resolves the config, reads the data, derives shapes and shardings, compiles the train step,
    and prints what came of it.

    Raises:
      UserError: `strict`, and something in the data is serious; after everything was printed.
    """
    setup = build(config)
    if not distributed.is_first():
        return
    _table("settings", _setting_rows(config))
    if config.space:
        _table("search space", [(key, _range(one)) for key, one in config.space.items()])
    findings = setup.task.data.findings()
    _table("data", setup.task.data.report())
    _findings(findings)
    _table("run", _run_rows(setup))
    _table("memory of a device", _memory_rows(setup))
    _table("between devices, an update", _collective_rows(setup))
    serious = [f"{found.what} ({found.count:,})" for found in findings if found.serious]
    if strict and serious:
        raise UserError(f"--strict: serious: {'; '.join(serious)}; they are above, marked !")


def _range(one: Range) -> str:
    if one.kind == "choice":
        return f"one of {', '.join(map(repr, one.values))}"
    low, high = one.values
    numbers = "whole numbers " if one.is_whole else ""
    evenly = " in the logarithm" if one.kind == "log" else ""
    return f"{numbers}from {low:g} to {high:g}, drawn evenly{evenly}"


def _findings(findings: Sequence[Finding]) -> None:
    if not findings:
        return
    print("\nwhat of the data deserves a look (! is serious)")
    width = max(len(f"{found.count:,}") for found in findings)
    for found in findings:
        print(f"  {'!' if found.serious else ' '} {found.count:>{width},}  {found.what}")
        for place in found.places:
            print(f"{'':{width + 8}}{place}")


def _setting_rows(config: Config) -> list[tuple[str, str]]:
    """Value, where it comes from, and the first words of the help."""
    helps = {key: re.split(r"[;:]| \(", field.help)[0] for key, field in config.fields().items()}
    return [
        (key, f"{f'{value!r} ({config.origins[key]})':<24}  {helps[key]}")
        for key, value in config.flat().items()
    ]


def _run_rows(setup: Setup) -> list[tuple[str, str]]:
    train, mesh = setup.task.data.train, setup.mesh
    warmup = duration(
        setup.config, "warmup", section="schedule", task=setup.task, total_steps=setup.total_steps
    )
    axes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
    per_epoch = train.steps_per_epoch
    steps = f"{setup.total_steps:,}, {per_epoch:.1f} an epoch, warm-up {warmup or 0:.0f}"
    batch = (
        f"{train.batch_rows} rows, {setup.num_rows} as they lie on the mesh; "
        f"about {train.num_examples / per_epoch:.3g} examples"
    )
    return [
        ("parameters", f"{num_params(setup.state):,}"),
        ("mesh", f"{axes} over {mesh.size} {jax.default_backend()} device(s)"),
        ("steps", steps),
        ("batch", batch),
        ("FLOPs", f"{setup.flops:.4g} an update, {setup.flops / mesh.size:.4g} a device"),
        ("parts of an update", f"{setup.num_microbatches}"),
        ("sharded", _sharding_summary(setup)),
    ]


def _sharding_summary(setup: Setup) -> str:
    params = setup.state.params
    leaves = list(zip(leaf_names(params), jax.tree.leaves(params)))
    whole = [name for name, x in leaves if x.sharding.shard_shape(x.shape) == x.shape]
    if len(whole) == len(leaves):
        return "every parameter is whole on each device"
    some = f"; whole: {', '.join(whole[:3])}{', ...' * (len(whole) > 3)}" if whole else ""
    return f"{len(leaves) - len(whole)} of {len(leaves)} parameters are split over devices{some}"


def _memory_rows(setup: Setup) -> list[tuple[str, str]]:
    """From the shapes and shardings of the state, and XLA's analysis of the compiled step."""
    state = setup.state
    kinds = {
        "parameters": state.params,
        "optimizer": state.opt_state,
        "statistics": state.model_state,
        "average": state.ema,
    }
    sizes = {kind: _on_one_device(tree) for kind, tree in kinds.items()}
    frozen = _on_one_device(setup.frozen)
    parts = ", ".join(f"{kind} {_mib(size)}" for kind, size in sizes.items() if size)
    whole = _on_one_device(state)
    rows = [("state", f"{_mib(whole)}: {parts}")]
    rows += [("frozen beside it", _mib(frozen))] if frozen else []
    peak, analysis = cost.peak_memory(setup.compiled), setup.compiled.memory_analysis()
    if peak is None:
        return rows
    rows += [
        ("batch", f"{max(0, analysis.argument_size_in_bytes - whole - frozen) / 2**10:,.1f} KiB"),
        ("activations and gradients", _mib(analysis.temp_size_in_bytes)),
        ("peak of an update", _mib(peak)),
    ]
    limit = cost.device_memory(setup.config.of(Batch).device_memory_gib)
    if limit is not None:
        fits = cost.fits(setup.compiled, limit=limit)
        rows.append(("of", f"{_mib(limit)}: {'fits' if fits else _what_fits(setup.config)}"))
    return rows


def _what_fits(config: Config) -> str:
    auto = config.values["batch"] | {"accumulate": "auto"}
    try:
        found = build(config._replace(values=config.values | {"batch": auto}))
    except UserError as error:
        return f"DOES NOT FIT, nor in parts: {error}"
    return f"DOES NOT FIT: --config.batch.accumulate={found.num_microbatches} does"


def _on_one_device(tree: Any) -> int:
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def _collective_rows(setup: Setup) -> list[tuple[str, str]]:
    if setup.mesh.size == 1:
        return [("none", "one device")]
    found = collectives.count(setup.compiled.as_text())
    rows = [(kind, f"{c.count:,} times, {_mib(c.num_bytes)} in all") for kind, c in found.items()]
    if jax.default_backend() == "cpu":
        rows.append(("note", CPU_PLAN))
    return rows


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.1f} MiB"


def _table(title: str, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
