"""Owns training low-rank adapters beside kernels that stay as they are (LoRA, Hu et al. 2021): what
is adapted, the wrapped model, and what becomes of it in use.

The base is `Variables["frozen"]["base"]`: neither donated, saved with checkpoints, nor given a
gradient. Arrays and files belong to `lora_files.py`, PEFT's to `export/peft.py`.

Suffixes: D input features, F output features, R rank, N everything before them.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigjax.config.fields import AtLeast
from bigjax.config.sections import Run
from bigjax.config.values import Config
from bigjax.errors import UserError, first_of, nearest
from bigjax.methods import given, peft_files
from bigjax.methods.lora_files import BASE_FILE, A, B, merged, read_base
from bigjax.models import ops
from bigjax.tasks.task import Model, Outputs, Pretrained, Task
from bigjax.trees import flatten, match_rules, nested

RULES = ((r"head/.*", "train"), (r".*/kernel", "adapt"), (r".*", "freeze"))
_BASE_STREAM = 4  # of the seed: base parameters that nobody gives


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoRA:
    """Low-rank adapters (Hu et al. 2021): a product of two thin matrices is trained beside each
    chosen kernel, which stays as it is; see [methods.md](methods.md)."""

    rank: Annotated[
        int | None, AtLeast(1), "columns of the thin matrices; None: off, everything is trained"
    ] = None
    alpha: Annotated[float, AtLeast(1e-6), "what they add is multiplied by alpha / rank"] = 16.0
    rules: Annotated[
        tuple[tuple[str, str], ...],
        "what becomes of each parameter: 'adapt' (kernels of dense layers), 'train' (in full) or "
        "'freeze'; pairs (regular expression, value), the first that matches counts",
    ] = RULES
    adapters: Annotated[
        str | None, "a folder that peft saved, whose adapters this run starts from; None: new ones"
    ] = None


def wrap(task: Task, config: Config) -> Task:
    """The task with adapters in training; itself where they are off.

    Raises:
      UserError: rules that do not fit the parameters.
    """
    settings = config.of(LoRA)
    if settings.rank is None:
        return task
    model, seed = task.model, config.of(Run).seed
    plan = _plan(model, settings)
    base = lambda: _start(model, seed=seed)[0]  # noqa: E731
    use = task.use._replace(arrays={**task.use.arrays, BASE_FILE: lambda: _base_of(plan, base())})
    wrapped = _wrapped(model, settings, plan, base=base, seed=seed)
    if settings.adapters is not None:
        read = functools.partial(_with_adapters, task, wrapped, plan, settings)
        wrapped = wrapped._replace(pretrained=read)
    return task._replace(model=wrapped, use=use)


class Saved(NamedTuple):
    """A run's model as its checkpoints have it.

    model: as it was trained. used: (variables, frozen) -> variables of the model as it is used.
    """

    model: Model
    used: Callable[[Any, Any], Any]


def saved(model: Model, config: Config, *, folder: str) -> Saved | None:
    """How the checkpoints of the run in `folder` hold `model`; None where they hold it as it is."""
    settings = config.of(LoRA)
    if settings.rank is None:
        return None
    plan, scale = _plan(model, settings), settings.alpha / settings.rank

    def used(variables: Any, frozen: Any) -> Any:
        return {**variables, "params": merged(variables["params"], frozen["base"], scale=scale)}

    base = lambda: read_base(folder)  # noqa: E731
    return Saved(_wrapped(model, settings, plan, base=base, seed=0), used)


class _Plan(NamedTuple):
    """roles: name of each parameter -> "adapt", "train" or "freeze". shapes: of the variables.
    depths: name -> depth, see `Model.layer_depths`."""

    roles: Mapping[str, str]
    shapes: Any
    depths: Mapping[str, Any]


def _plan(model: Model, settings: LoRA) -> _Plan:
    dense: set[str] = set()
    with nn.intercept_methods(functools.partial(_note_dense, dense)):
        # Of a function of its own: JAX would not trace `model.init` again.
        shapes = nn.meta.unbox(jax.eval_shape(lambda key: model.init(key), jax.random.key(0)))  # noqa: PLW0108
    params, ours = shapes["params"], settings.rules == RULES
    roles = flatten(match_rules(params, rules=settings.rules, what="lora", strict=not ours))
    wrong = sorted(set(roles.values()) - {"adapt", "train", "freeze"})
    if wrong:
        raise UserError(f"config.lora.rules: {nearest(wrong[0], ('adapt', 'train', 'freeze'))}")
    if ours:
        roles = {k: "freeze" if v == "adapt" and k not in dense else v for k, v in roles.items()}
    adapted = [name for name, role in roles.items() if role == "adapt"]
    if others := [name for name in adapted if name not in dense]:
        raise UserError(
            f"config.lora.rules: {first_of(others)} cannot be adapted: not the kernel of a dense "
            f"layer; those are {first_of(sorted(dense)) or 'none in this model'}"
        )
    if not adapted:
        raise UserError("config.lora.rules: they adapt no kernel; lora.rank=none trains without")
    return _Plan(roles, shapes, flatten(model.layer_depths(params)))


def _note_dense(found: set[str], call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    module = context.module
    if isinstance(module, ops.Dense) and context.method_name == "__call__":
        found.add("/".join((*module.scope.path, "kernel")))
    return call(*args, **kwargs)


def _wrapped(
    model: Model,
    settings: LoRA,
    plan: _Plan,
    *,
    base: Callable[[], Mapping[str, Any]],
    seed: int,
) -> Model:
    assert settings.rank is not None
    scale = settings.alpha / settings.rank

    def frozen() -> Any:
        rest = {} if model.frozen is None else dict(model.frozen())
        return {**rest, "base": nested(_base_of(plan, base()))}

    def pretrained() -> Pretrained:
        whole, found, report = _start(model, seed=seed)
        trained = {name: whole[name] for name, role in plan.roles.items() if role == "train"}
        return Pretrained(nested(trained), found.source, "", found.model_state, matched=report)

    return model._replace(
        init=functools.partial(_init, model, plan, rank=settings.rank),
        apply=functools.partial(_apply, model, scale),
        layer_depths=functools.partial(_depths, plan),
        pretrained=None if model.pretrained is None else pretrained,
        adopt=None,
        frozen=frozen,
    )


def _with_adapters(task: Task, wrapped: Model, plan: _Plan, settings: LoRA) -> Pretrained:
    """Those of a folder of PEFT's, and the rest as `wrapped` starts."""
    assert settings.adapters is not None and settings.rank is not None
    if task.use.portable is None:
        raise UserError(f"lora.adapters: models of {task.name} have no names that peft knows")
    wanted = nn.meta.unbox(jax.eval_shape(lambda key: wrapped.init(key), jax.random.key(0)))  # noqa: PLW0108
    sizes = {"rank": settings.rank, "alpha": settings.alpha}
    whole, params = plan.shapes["params"], wanted["params"]
    folder, portable = settings.adapters, task.use.portable()
    found, said = peft_files.read(folder, portable, whole=whole, wanted=params, **sizes)
    first = None if wrapped.pretrained is None else wrapped.pretrained()
    if first is None:
        return Pretrained(nested(found), settings.adapters, matched=said)
    params = nested({**flatten(first.params), **found})
    source = f"{first.source} with the adapters of {folder}"
    return first._replace(params=params, source=source, matched=f"{first.matched}; {said}")


def _start(model: Model, *, seed: int) -> tuple[dict[str, Any], Any, str]:
    """Name -> array of the params of the whole model, given or else random; what was given, None
    where nothing was; and what is to be said of it."""
    key = jax.random.fold_in(jax.random.key(seed), _BASE_STREAM)
    if model.pretrained is None:
        return flatten(nn.meta.unbox(jax.jit(model.init)(key))["params"]), None, ""
    found = model.pretrained()
    shapes = nn.meta.unbox(jax.eval_shape(model.init, key))
    chosen, report = given.match(found, wanted=shapes)
    arrays = flatten(chosen["params"], is_leaf=lambda x: x is None)
    if any(x is None for x in arrays.values()):
        random = flatten(nn.meta.unbox(jax.jit(model.init)(key))["params"])
        arrays = {name: random[name] if x is None else x for name, x in arrays.items()}
    return arrays, found, report


def _base_of(plan: _Plan, whole: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.ascontiguousarray(whole[name], np.float32)
        for name, role in plan.roles.items()
        if role != "train"
    }


def _init(model: Model, plan: _Plan, key: jax.Array, *, rank: int) -> Any:
    """A is uniform within 1 / sqrt(D) and B zero, as in PEFT: at first the model is its base."""
    variables = dict(model.init(key))
    boxed = flatten(variables["params"], is_leaf=lambda x: isinstance(x, nn.meta.AxisMetadata))
    params = {}
    for name, role in plan.roles.items():
        if role == "train":
            params[name] = boxed[name]
        elif role == "adapt":
            *layers, num_in, num_out = nn.meta.unbox(boxed[name]).shape
            axes = boxed[name].names if isinstance(boxed[name], nn.Partitioned) else ()
            axes = (*axes, *(None,) * (len(layers) + 2 - len(axes)))
            module, bound = name.removesuffix("kernel"), num_in**-0.5
            own = jax.random.fold_in(key, zlib.crc32(name.encode()))
            a = jax.random.uniform(own, (*layers, num_in, rank), minval=-bound, maxval=bound)
            b = jnp.zeros((*layers, rank, num_out))
            params[module + A] = nn.Partitioned(a, (*axes[:-1], None))
            params[module + B] = nn.Partitioned(b, (*axes[:-2], None, axes[-1]))
    return {**variables, "params": nested(params)}


def _apply(
    model: Model, scale: float, variables: Any, batch: Mapping[str, jax.Array], key: Any
) -> tuple[Outputs, Any]:
    """The products of adapters are computed beside those of their kernels, whose gradient nobody
    needs then."""
    frozen = dict(variables["frozen"])
    whole = nested({**flatten(frozen.pop("base")), **flatten(variables["params"])})
    rest = {name: tree for name, tree in variables.items() if name not in ("params", "frozen")}
    given = {**rest, "params": whole} | ({"frozen": frozen} if frozen else {})
    with nn.intercept_methods(functools.partial(_add_adapter, scale)):
        return model.apply(given, batch, key)


def _add_adapter(scale: float, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    y = call(*args, **kwargs)
    module = context.module
    if not isinstance(module, ops.Dense) or context.method_name != "__call__":
        return y
    if not module.has_variable("params", A):
        return y
    (x,), (axis_in, axis_out) = args, module.axes
    a_DR, b_RF = (module.get_variable("params", name) for name in (A, B))
    x_NR = ops.matmul(x.reshape(-1, x.shape[-1]), a_DR, module.dtype, (axis_in, None))
    y_NF = ops.matmul(x_NR, scale * b_RF, module.dtype, (None, axis_out))
    return y + y_NF.reshape(y.shape)


def _depths(plan: _Plan, params: Any) -> Any:
    def depth(name: str) -> Any:
        *module, leaf = name.split("/")
        return plan.depths["/".join((*module, "kernel" if leaf in (A, B) else leaf))]

    return nested({name: depth(name) for name in flatten(params)})
