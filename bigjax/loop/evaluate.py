"""Owns a full pass over a split: every row exactly once, at any batch size and device count."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from bigjax.data.dataset import Dataset
from bigjax.data.pipeline import Prefetch
from bigjax.engine.scorer import Scorer
from bigjax.engine.sharding import padded_rows, put_batch
from bigjax.tasks.task import Scores


def evaluate(scorer: Scorer, *, split: str, variables: Any, between: Callable[[], None]) -> Scores:
    """Scores of a split, on every process alike.

    Args:
      variables: what is scored, as `scorer.variables` describes it.
      between: called before each batch; may raise, to end the pass.
    """
    dataset = scorer.task.data.evals[split]
    sums, outputs = outputs_of(dataset, scorer, variables=variables, between=between)
    return scores_of(scorer, split=split, sums=sums, outputs=outputs)


def scores_of(
    scorer: Scorer, *, split: str, sums: Mapping[str, Any], outputs: Mapping[str, np.ndarray]
) -> Scores:
    """What the sums and outputs of a pass over a split come to."""
    scores = scorer.task.scoring.score(split, outputs)
    means = {name: float(mean.compute()) for name, mean in sums.items()}
    return scores._replace(scalars=means | scores.scalars)


def outputs_of(
    dataset: Dataset, scorer: Scorer, *, variables: Any, between: Callable[[], None]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The sums over a data set and the outputs of all its rows in order; arguments as above."""
    mesh = scorer.mesh
    num_rows = padded_rows(dataset, mesh=mesh)
    num_batches = -(-dataset.num_rows // dataset.batch_rows)
    sums: dict[str, Any] = {}
    outputs: dict[str, list[np.ndarray]] = {}
    batches = Prefetch(
        lambda step: put_batch(dataset, step=step, mesh=mesh, num_rows=num_rows),
        range(num_batches),
    )
    for batch in batches:
        between()
        found_sums, found = jax.device_get(scorer.eval_step(variables, scorer.frozen, batch))
        for name, mean in found_sums.items():
            sums[name] = sums.get(name, mean.empty()).merge(mean)
        for name, rows in found.items():
            outputs.setdefault(name, []).append(rows[: dataset.batch_rows])
    return sums, {
        name: np.concatenate(found)[: dataset.num_rows] for name, found in outputs.items()
    }
