"""Owns reading the arrays of a checkpoint: what is returned is bit for bit what was saved, or there
is an error that names what is not. Which checkpoint is read belongs to the caller."""

import os
import sys
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from bigjax.checkpoints import manifest
from bigjax.checkpoints.hashes import by_name, check_files, content_hashes
from bigjax.checkpoints.manifest import DamagedCheckpoint, Facts, Manifest
from bigjax.errors import UserError
from bigjax.models.origins import run_of
from bigjax.trees import leaf_names, map_named


def read_state(folder: str, *, like: Any) -> tuple[Any, Facts]:
    """The state of the checkpoint in `folder`, straight onto the shardings of `like` (a tree of
    shapes), and its facts. On top of the state it takes the memory of its largest array.

    Raises:
      DamagedCheckpoint: a file, or what was read from them, is not what was saved.
      UserError: there is none; its arrays are not those of `like`; or it is whole and yet cannot
        be read.
    """
    found = manifest.read(folder)
    differ = _differences(found, like)
    if differ:
        more = f" and {len(differ) - 1} more differ" if len(differ) > 1 else ""
        raise UserError(
            f"{_named(folder)} is not of this config's model and optimizer: {differ[0]}{more}; use "
            "the config it was made with, or another --workdir; init.checkpoint=FOLDER takes the "
            "parameters that fit"
        )
    _verify_files(folder, found)
    largest = max((x.size * x.dtype.itemsize for x in jax.tree.leaves(like)), default=0)
    handler = ocp.StandardCheckpointHandler(restore_concurrent_gb=(largest + 2**20) / 1e9)
    state = _read(folder, handler=handler, args=ocp.args.StandardRestore(like))
    _verify_content(folder, found, state)
    return state, found.facts


def read_params(folder: str) -> tuple[Any, Any, int]:
    """Parameters of any checkpoint, verified, without knowing the config it was made with.

    Args:
      folder: that of a run, of which the best checkpoint is taken, or the latest where none has a
        score; or that of one checkpoint.
    Returns:
      NumPy arrays in nested dicts: the parameters, averaged where the run averages, as evaluation
      uses them, and the model's other collections; and their step.
    Raises:
      DamagedCheckpoint, UserError: as `read_state` does.
    """
    folder = _chosen(os.path.abspath(folder))
    found = manifest.read(folder)
    _verify_files(folder, found)
    handler = ocp.PyTreeCheckpointHandler()
    with ocp.Checkpointer(handler) as reader:
        tree = reader.metadata(os.path.join(folder, "state")).item_metadata.tree
    params = _scored_params(found)
    wanted = {name: tree[name] for name in (params, "model_state") if name in tree}
    on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    read = _read_parts(folder, found, wanted, restore_args=on_host)
    return read[params], read.get("model_state", {}), found.step


def read_variables(folder: str, *, like: Any) -> Any:
    """What is scored of the checkpoint in `folder`, straight onto the shardings of `like` (a tree
    of shapes: "params", and the model's other collections), in the types that it was saved in:
    the parameters, averaged where the run averages.

    Raises:
      DamagedCheckpoint, UserError: as `read_state` does.
    """
    found = manifest.read(folder)
    params = _scored_params(found)
    rest = {name: tree for name, tree in like.items() if name != "params"}
    wanted = {params: like["params"]} | ({"model_state": rest} if rest else {})

    def as_saved(name: str, leaf: Any) -> Any:
        dtype = found.arrays[name][0] if name in found.arrays else leaf.dtype
        return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=leaf.sharding)

    wanted = map_named(as_saved, wanted)
    saved = {k: v for k, v in found.arrays.items() if k.split("/")[0] in wanted}
    differ = _differences(found._replace(arrays=saved), wanted)
    if differ:
        more = f" and {len(differ) - 1} more differ" if len(differ) > 1 else ""
        raise UserError(f"{_named(folder)} is not of this config's model: {differ[0]}{more}")
    _verify_files(folder, found)
    args = ocp.checkpoint_utils.construct_restore_args(wanted)
    read = _read_parts(folder, found, wanted, restore_args=args)
    return {"params": read[params], **read.get("model_state", {})}


def _scored_params(found: Manifest) -> str:
    """The part of a state whose parameters are scored: their average, where the run has one."""
    return "ema" if any(name.startswith("ema/") for name in found.arrays) else "params"


def _read_parts(folder: str, found: Manifest, wanted: Any, *, restore_args: Any) -> Any:
    args = ocp.args.PyTreeRestore(item=wanted, restore_args=restore_args, partial_restore=True)
    read = _read(folder, handler=ocp.PyTreeCheckpointHandler(), args=args)
    _verify_content(folder, found, read)
    return read


def read_newest(folder: str, *, like: Any) -> tuple[Any, Facts]:
    """State and facts of another run's newest whole checkpoint, or of the one in `folder`. Nothing
    there is touched.

    Raises:
      DamagedCheckpoint, UserError: as `read_state` does.
    """
    folder = os.path.abspath(folder)
    if run_of(folder) != folder:
        return read_state(folder, like=like)
    steps = _steps(folder)
    for step in reversed(steps):
        try:
            return read_state(os.path.join(folder, "checkpoints", str(step)), like=like)
        except DamagedCheckpoint as error:
            if step == steps[0]:
                raise
            print(f"warning: {error}; trying the one before", file=sys.stderr, flush=True)
    raise AssertionError("a run has a step")


def largest_difference(folder: str, other: str) -> str:
    """In words, by how much the parameters that two checkpoints share differ."""
    found, others = (
        dict(zip(leaf_names(params), jax.tree.leaves(params)))
        for params, *_ in map(read_params, (folder, other))
    )
    shared = [name for name, x in found.items() if name in others and others[name].shape == x.shape]
    if not shared:
        return "no parameter has the name and shape of one there"
    largest, name = max((_distance(found[name], others[name]), name) for name in shared)
    return f"the largest difference of a parameter is {largest:.3g}, in {name}"


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two elements; infinite where only one of them is a number."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    return float(np.max(np.where(np.isnan(apart), np.inf, apart), initial=0.0))


def _named(folder: str) -> str:
    parent, step = os.path.split(folder)
    return f"checkpoint {step} in {parent}"


def _chosen(folder: str) -> str:
    """The folder of one checkpoint: of a run's, the best or else the latest."""
    inside = os.path.join(folder, "checkpoints")
    if not os.path.isdir(inside):
        return folder
    steps = _steps(folder)
    scores = {step: manifest.read(os.path.join(inside, str(step))).score for step in steps}
    scored = [step for step in steps if scores[step] is not None]
    best = max(scored, key=lambda step: (scores[step], -step), default=max(steps))
    return os.path.join(inside, str(best))


def _steps(run: str) -> list[int]:
    inside = os.path.join(run, "checkpoints")
    steps = manifest.steps(inside)
    if not steps:
        raise UserError(f"{inside}: no checkpoint; train that run first, or give another folder")
    return steps


def _differences(found: Manifest, wanted: Any) -> list[str]:
    """What is not alike in the saved arrays and the wanted ones, each in words."""
    there = {name: f"{dtype} {shape}" for name, (dtype, shape, _) in found.arrays.items()}
    here = {
        name: f"{leaf.dtype} {tuple(leaf.shape)}"
        for name, leaf in zip(leaf_names(wanted), jax.tree.leaves(wanted))
    }
    return [
        f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
        for name in {**here, **there}
        if there.get(name) != here.get(name)
    ]


def _verify_files(folder: str, found: Manifest) -> None:
    try:
        problems = check_files(folder, expected=found.files)
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); fix that and run the same "
            "command again"
        ) from error
    if problems:
        raise DamagedCheckpoint(folder, problem=_with_count(problems))


def _verify_content(folder: str, found: Manifest, tree: Any) -> None:
    """What reading made of whole files may still be wrong, as may be what was written to them."""
    hashes = by_name(tree, hashes=content_hashes(tree))
    wrong = [name for name, digest in hashes.items() if digest != found.arrays[name][2]]
    if wrong:
        problems = [f"{name} is read with other content than was saved" for name in wrong]
        raise DamagedCheckpoint(folder, problem=_with_count(problems))


def _with_count(problems: list[str]) -> str:
    return problems[0] + (f" and {len(problems) - 1} more" if len(problems) > 1 else "")


def _read(folder: str, *, handler: Any, args: Any) -> Any:
    try:
        with ocp.Checkpointer(handler) as reader:
            return reader.restore(os.path.join(folder, "state"), args=args)
    except Exception as error:  # Orbax raises every type, bare Exception among them
        raise UserError(
            f"{_named(folder)} is whole, but cannot be read ({first_line(error)}); check that "
            "memory suffices, and that the versions of JAX and Orbax are those that saved it"
        ) from error
