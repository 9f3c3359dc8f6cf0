"""Owns a model of tables as it leaves the program: scaled numbers and codes to logits."""

import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigjax.data.tables import plan as plans
from bigjax.data.tables.plan import Plan
from bigjax.data.tables.table_sources import Split
from bigjax.errors import UserError
from bigjax.tasks.portable import Folder, Input, Portable, Samples
from bigjax.tasks.table.explain import batch_of
from bigjax.tasks.task import Model

BATCH_ROWS = 32
BUCKETS = (1, 8, 256)


def portable(model: Model, *, plan: Plan, splits: Mapping[str, Split], file: str) -> Portable:
    """file: the name of what says how columns become numbers and codes."""
    inputs = {
        "numbers": Input(("batch", len(plan.features)), "float32"),
        "categories": Input(("batch", len(plan.num_codes)), "int32"),
    }
    inputs = {name: given for name, given in inputs.items() if given.dims[1]}
    return Portable(
        inputs=inputs,
        outputs=("batch", len(plan.target.classes) or 1),
        limits={},
        buckets=[{"batch": n} for n in BUCKETS],
        params=lambda variables: jax.tree.map(lambda x: np.asarray(x, np.float32), dict(variables)),
        apply=functools.partial(_apply, model),
        samples=functools.partial(_samples, splits, plan=plan, names=tuple(inputs)),
        files=lambda _: {file: plans.to_json(plan)},
        imports="",
        example=resources.files(__package__).joinpath("example.py.txt").read_text(encoding="utf-8"),
        huggingface=_refused,
        things="rows",
    )


def _apply(model: Model, params: Any, inputs: Mapping[str, jax.Array]) -> jax.Array:
    """float32 (B, K), or (B, 1) for a value."""
    num_rows = next(iter(inputs.values())).shape[0]
    none = {
        "numbers": jnp.zeros((num_rows, 0), jnp.float32),
        "categories": jnp.zeros((num_rows, 0), jnp.int32),
    }
    outputs, _ = model.apply(params, {**none, **inputs}, None)
    return outputs["logits"] if "logits" in outputs else outputs["value"][:, None]


def _samples(
    splits: Mapping[str, Split],
    params: Any,  # noqa: ARG001
    name: str,
    most: int | None,
    *,
    plan: Plan,
    names: Sequence[str],
) -> Samples:
    split, target = splits[name], plan.target
    num = len(split.ids)
    ids = np.linspace(0, num - 1, min(num, most or num)).astype(np.int64)  # from all over the split
    batch = {key: value for key, value in batch_of(split, ids).items() if key in names}

    def answers(found: Sequence[np.ndarray]) -> list[str]:
        values = np.concatenate(found).astype(np.float64)
        if target.classes:
            return [target.classes[i] for i in values.argmax(1)]
        return [f"{value * target.scale + target.center:.4g}" for value in values[:, 0]]

    def score(found: Sequence[np.ndarray]) -> float:
        values, gold = np.concatenate(found), split.target[ids]
        if target.classes:
            return float((values.argmax(1) == gold).mean())
        return -float(np.square(values[:, 0] - gold).mean())

    return Samples(
        batches=[
            {key: value[begin : begin + BATCH_ROWS] for key, value in batch.items()}
            for begin in range(0, len(ids), BATCH_ROWS)
        ],
        compared=np.concatenate,
        answers=answers,
        given=[{key: value[i].tolist() for key, value in batch.items()} for i in range(len(ids))],
        score=score,
    )


def _refused(_: Any) -> Folder:
    raise UserError("transformers has no model of tables; export as stablehlo or onnx")
