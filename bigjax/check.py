"""Owns `--mode=check`: everything that can be known of a run before training it."""

import jax
import numpy as np

from bigjax.config import Config
from bigjax.setup import Setup, build, duration, num_params


def check(config: Config) -> None:
    """Resolves the config, reads the data, derives shapes and shardings, compiles the train step,
    and prints what came of it."""
    setup = build(config)
    _table("settings", [(k, f"{v!r}  ({config.origins[k]})") for k, v in config.flat().items()])
    _table("data", setup.task.data_report())
    _table("run", _run_rows(setup))
    _table("memory of a device", _memory_rows(setup))


def _run_rows(setup: Setup) -> list[tuple[str, str]]:
    train, mesh = setup.task.train, setup.mesh
    warmup = duration(
        setup.config, "warmup", section="schedule", task=setup.task, total_steps=setup.total_steps
    )
    axes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
    per_epoch = train.steps_per_epoch
    steps = f"{setup.total_steps:,}, {per_epoch:.1f} an epoch, warm-up {warmup or 0:.0f}"
    batch = (
        f"{train.batch_rows} rows, {setup.num_rows} as they lie on the mesh; "
        f"about {train.num_examples / per_epoch:.1f} examples"
    )
    return [
        ("parameters", f"{num_params(setup.state):,}"),
        ("mesh", f"{axes} over {mesh.size} {jax.default_backend()} device(s)"),
        ("steps", steps),
        ("batch", batch),
        ("FLOPs", f"{setup.flops:.3g} an update"),
        ("sharded", _sharding_summary(setup)),
    ]


def _sharding_summary(setup: Setup) -> str:
    leaves = jax.tree.leaves(setup.state.params)
    split = [x for x in leaves if x.sharding.shard_shape(x.shape) != x.shape]
    return f"{len(split)} of {len(leaves)} parameters are split over devices"


def _memory_rows(setup: Setup) -> list[tuple[str, str]]:
    """From the shapes and shardings of the state, and XLA's analysis of the compiled step."""

    def on_one_device(tree: object) -> int:
        return sum(
            int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
            for x in jax.tree.leaves(tree)
        )

    rows = [("state", _mib(on_one_device(setup.state)))]
    analysis = setup.train_step.memory_analysis()
    if analysis is not None:
        rows.append(("activations and gradients", _mib(analysis.temp_size_in_bytes)))
        in_and_out = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
        peak = in_and_out - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes
        rows.append(("peak of an update", _mib(peak)))
    return rows


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.1f} MiB"


def _table(title: str, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
