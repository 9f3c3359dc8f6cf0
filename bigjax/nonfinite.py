"""Owns what happens when a loss is not finite: say which step and where, keep the evidence."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigjax import sharding, step
from bigjax.errors import UserError
from bigjax.setup import Setup
from bigjax.state import TrainState
from bigjax.trees import leaf_names


class NonFiniteError(UserError):
    """Training stopped because loss or gradient was not finite."""

    exit_code = 3


def stop_at_nonfinite(setup: Setup, state: TrainState, *, expected: int, workdir: str) -> None:
    """Waits for the steps on their way. Raises NonFiniteError if one of them did not move the state
    (see `step.make_train_step`): the state is then still the one whose loss is not finite."""
    reached = int(state.step)
    if reached == expected:
        return
    batch = sharding.put_batch(
        setup.task.train, step=reached, mesh=setup.mesh, num_rows=setup.num_rows
    )
    path = os.path.join(workdir, f"nonfinite_batch_{reached}.npz")
    np.savez(path, **{name: np.asarray(x) for name, x in jax.device_get(batch).items()})
    config = setup.config
    key = jax.random.fold_in(step.stream(config[""]["seed"], step.DROPOUT_STREAM), reached)
    grads, sums, _ = jax.jit(
        lambda state, batch: step.summed_gradients(
            setup.task.loss, state, batch, key=key, num_microbatches=config["batch"]["accumulate"]
        )
    )(state, batch)
    found = [
        *_nonfinite("parameter ", state.params),
        *(["the loss"] if not np.isfinite(float(sums["loss"].total)) else []),
        *_nonfinite("gradient of ", grads),
    ]
    shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    raise NonFiniteError(
        f"step {reached}: not finite: {shown or 'the norm of the gradient'}; the batch is in {path}, "
        "the last checkpoint is intact; try a lower optim.learning_rate or a longer warm-up"
    )


def _nonfinite(kind: str, tree: Any) -> list[str]:
    bad = jax.device_get(jax.tree.map(lambda x: ~jnp.isfinite(x).all(), tree))
    return [kind + name for name, is_bad in zip(leaf_names(tree), jax.tree.leaves(bad)) if is_bad]
