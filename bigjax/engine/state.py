"""Owns what a checkpoint holds: the train state, data only."""

from typing import Any, NamedTuple

import jax


class TrainState(NamedTuple):
    """step: int32 scalar, the number of updates done, and so the number of the next batch.
    params: the model's parameters.
    model_state: its other collections (batch statistics); {} where there are none.
    opt_state: the optimizer's state.
    ema: exponential moving average of params, or None where it is off.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any
    ema: Any

    def variables(self) -> dict[str, Any]:
        """The model's variables as training sees them."""
        return {"params": self.params, **self.model_state}

    def averaged(self) -> dict[str, Any]:
        """The model's variables to evaluate: averaged where the run averages."""
        params = self.params if self.ema is None else self.ema
        return {"params": params, **self.model_state}
