"""Owns saving and restoring the train state with Orbax, and the small facts saved beside it.

A checkpoint is the state and facts about the run so far; nothing of the input is in it, because the
next batch follows from (data, seed, step). When to save belongs to the loop.
"""

import os
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from bigjax.errors import UserError
from bigjax.trees import leaf_names

Facts = dict[str, Any]


class Checkpoints:
    """The checkpoints of one run folder: the latest ones, and those of the best scores."""

    def __init__(self, workdir: str, *, keep_latest: int, keep_best: int):
        # The better score, and of equal ones the earlier step.
        rank = lambda metrics: (metrics["score"], -metrics["step"])  # noqa: E731
        keep: list[Any] = [policies.LatestN(max(1, keep_latest))]
        if keep_best:
            keep.append(
                policies.BestN(
                    get_metric_fn=rank,
                    reverse=False,
                    n=keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._manager = ocp.CheckpointManager(
            os.path.abspath(os.path.join(workdir, "checkpoints")),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "facts": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                save_decision_policy=policies.FixedIntervalPolicy(1),
                preservation_policy=policies.AnyPreservationPolicy(keep),
                best_fn=rank,  # without it metrics are not written, and resume loses the best
                best_mode="max",
                cleanup_tmp_directories=True,
                enable_async_checkpointing=True,
            ),
        )

    def save(self, state: Any, *, step: int, facts: Facts, score: float | None) -> None:
        """Starts to save; returns when the state is copied to the host. A step that is already
        there is left as it is: the same step of the same run is the same state.

        Args:
          score: what "best" compares, higher is better; None: this one is never best.
        """
        if step in self._manager.all_steps():
            return
        metrics = None if score is None else {"score": score, "step": step}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(facts)
        )
        self._manager.save(step, args=items, metrics=metrics)

    def latest(self) -> int | None:
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def restore(self, step: int, *, like: Any) -> tuple[Any, Facts]:
        """The state of a step, straight onto the shardings of `like` (a tree of shapes).

        Raises:
          UserError: the checkpoint cannot be read, or its arrays are not those of this config's
            model and optimizer.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(like), facts=ocp.args.JsonRestore()
        )
        where = f"checkpoint {step} in {self._manager.directory}"
        try:
            self.wait()  # for the step itself, if it is still being written
            # Looked at first: a restore that fails half-way leaves reads that end in noise.
            saved = self._manager.item_metadata(step).state
            if saved is None:
                raise FileNotFoundError("its metadata are missing")
            differ = _differences(saved, like)
            restored = None if differ else self._manager.restore(step, args=items)
        except Exception as error:  # Orbax raises every type, bare Exception among them
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise UserError(
                f"{where} is damaged ({first}); delete its folder to go on from the one before, or "
                "use another --workdir"
            ) from error
        if differ:
            more = f" and {len(differ) - 1} more differ" if len(differ) > 1 else ""
            raise UserError(
                f"{where} is not of this config's model and optimizer: {differ[0]}{more}; use the "
                "config it was made with, or another --workdir"
            )
        return restored.state, restored.facts

    def wait(self) -> None:
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()


def abstract(tree: Any, shardings: Any) -> Any:
    """Shapes of `tree` with their shardings, for `restore`."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings
    )


def _differences(saved: Any, wanted: Any) -> list[str]:
    """What is not alike in the saved arrays and the wanted ones, each in words."""

    def described(tree: Any) -> dict[str, str]:
        leaves = zip(leaf_names(tree), jax.tree.leaves(tree))
        return {name: f"{leaf.dtype} {tuple(leaf.shape)}" for name, leaf in leaves}

    there, here = described(saved), described(wanted)
    return [
        f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
        for name in {**here, **there}
        if there.get(name) != here.get(name)
    ]
