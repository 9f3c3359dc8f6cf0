"""Owns weights in 8 bits: which are, and what they are again when a finished model computes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp

from bigjax.config.values import Config
from bigjax.errors import UserError
from bigjax.tasks.portable import Portable
from bigjax.tasks.task import Task
from bigjax.trees import flatten, nested

VALUE, SCALE = "int8", "scale"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantization:
    """Of a finished model, when it predicts, is scored or served; see [methods.md](methods.md)."""

    weights: Annotated[
        Literal["none", "int8"],
        "'int8': kernels and embeddings are kept as whole numbers of 8 bits, with a scale for each "
        "output of a kernel and each row of embeddings",
    ] = "none"


def refuse_in_training(config: Config) -> None:
    """Raises UserError where it is asked for."""
    if config.of(Quantization).weights != "none":
        raise UserError(
            "config.quantize.weights: is of a finished model: give it to --mode=predict, evaluate "
            "or serve"
        )


def as_used(task: Task, config: Config) -> tuple[Task, Callable[[Any], Any]]:
    """The task of a finished model, whose functions take its variables as the second makes them of
    those that were trained; the same, and nothing changed, where it is off."""
    if config.of(Quantization).weights == "none":
        return task, lambda variables: variables
    model, questions = task.model, task.use.questions

    def apply(variables: Any, batch: Any, key: Any) -> Any:
        return model.apply(_plain(variables), batch, key)

    def asked(one: Any, answer: Any, variables: Any) -> Any:
        return questions(one, answer, _plain(variables))

    use = task.use._replace(questions=None if questions is None else asked)
    return task._replace(model=model._replace(apply=apply), use=use), _quantized


def portable(found: Portable, params: Any) -> tuple[Portable, Any]:
    """A task's model as it leaves the program, with weights in 8 bits, and these."""

    def apply(params: Any, inputs: Mapping[str, Any]) -> Any:
        return found.apply(dequantized(params), inputs)

    made = found._replace(
        apply=apply,
        files=lambda _: found.files(params),
        samples=lambda _, split, most: found.samples(params, split, most),
    )
    return made, quantized(params)


def quantized(params: Any) -> dict[str, Any]:
    """Each kernel and table of embeddings as {"int8": whole numbers from -127 to 127, "scale":
    float32, broadcast against them}; scales are the largest absolute weight / 127, so the error of
    a weight is at most half of that."""
    found = {}
    for name, x in flatten(params).items():
        axes = _summed(name, x.ndim)
        if not axes:
            found[name] = x
            continue
        x = jnp.asarray(x, jnp.float32)
        scale = jnp.max(jnp.abs(x), axis=axes, keepdims=True) / 127
        whole = jnp.round(x / jnp.where(scale == 0, 1.0, scale))
        found |= {f"{name}/{VALUE}": whole.astype(jnp.int8), f"{name}/{SCALE}": scale}
    return nested(found)


def dequantized(params: Any) -> dict[str, Any]:
    """What `quantized` was given, but for rounding; float32."""
    leaves, found = flatten(params), {}
    for name, x in leaves.items():
        of, _, last = name.rpartition("/")
        if last == VALUE:
            found[of] = x.astype(jnp.float32) * leaves[f"{of}/{SCALE}"]
        elif not (last == SCALE and f"{of}/{VALUE}" in leaves):
            found[name] = x
    return nested(found)


def _summed(name: str, ndim: int) -> tuple[int, ...]:
    """The axes that share a scale; () for what stays as it is."""
    *scope, leaf = name.split("/")
    if leaf == "embedding":
        return (ndim - 1,)
    if leaf != "kernel" or ndim < 2:
        return ()
    return tuple(range("layers" in scope, ndim - 1))  # scanned layers each by themselves


def _quantized(variables: Any) -> dict[str, Any]:
    return {**variables, "params": quantized(variables["params"])}


def _plain(variables: Any) -> dict[str, Any]:
    return {**variables, "params": dequantized(variables["params"])}
