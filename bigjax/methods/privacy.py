"""Owns differentially private training: DP-SGD (Abadi et al. 2016), on examples drawn by chance.

An update takes each example with the same probability, by itself (Poisson sampling), clips its
gradient to a norm, adds up, adds noise of that norm times the multiplier, and divides by the number
that was expected. What that promises is counted by dp-accounting: whoever sees the parameters
learns little of whether any one example was among the training data.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from bigjax.config.fields import AtLeast, Between
from bigjax.data.dataset import Dataset
from bigjax.errors import UserError
from bigjax.methods import examples
from bigjax.methods.examples import one_a_row
from bigjax.methods.gradient import Gradient, Gradients, Objective
from bigjax.tasks.task import Task

_NOISE, _SAMPLING = 0xD9, 0x5A  # random streams of their own, beside dropout and the order of data
_WHY = "privacy clips the gradient of each example by itself"
_OVERFLOW = 1e-15  # chance that an update draws more examples than it has rows for
_FINEST = 1e-3  # of a privacy loss, as it is counted; rounded up, so what is told is an upper bound


@dataclasses.dataclass(frozen=True, kw_only=True)
class Privacy:
    """Differentially private training (DP-SGD), switched on by `epsilon` or `noise_multiplier`;
    see [privacy.md](privacy.md)."""

    epsilon: Annotated[
        float | None,
        AtLeast(1e-3),
        "what the whole training may tell of any one example: the noise is solved for it; None: as "
        "noise_multiplier says, or no private training",
    ] = None
    noise_multiplier: Annotated[
        float | None,
        AtLeast(1e-2),
        "standard deviation of the noise in an update's summed gradient, in units of clip_norm",
    ] = None
    delta: Annotated[
        float,
        Between(1e-12, 0.1),
        "the chance with which epsilon may fail; far below 1 over the number of examples",
    ] = 1e-5
    clip_norm: Annotated[
        float, AtLeast(1e-12), "the norm that the gradient of each example is clipped to"
    ] = 1.0

    @property
    def is_on(self) -> bool:
        return self.epsilon is not None or self.noise_multiplier is not None


class Sampling(NamedTuple):
    """How the batches of `sampled` come about. rate: the probability of each of `num_examples`
    examples to be in one."""

    num_examples: int
    rate: float

    @staticmethod
    def of(train: Dataset) -> "Sampling":
        return Sampling(train.num_examples, train.batch_rows / train.num_rows)

    @property
    def expected(self) -> float:
        """Examples an update has, on average."""
        return self.num_examples * self.rate


def as_trained(task: Task, privacy: Privacy, *, seed: int) -> Task:
    """The task with batches of examples drawn by chance.

    Raises:
      UserError: what of the task keeps examples from being counted one by one.
    """
    if not privacy.is_on:
        return task
    if privacy.epsilon is not None and privacy.noise_multiplier is not None:
        raise UserError(
            f"privacy.epsilon={privacy.epsilon} and privacy.noise_multiplier="
            f"{privacy.noise_multiplier}: give one of them, the other follows"
        )
    for reason in task.data.shared:
        raise UserError(f"privacy counts what each example adds by itself: {reason}")
    examples.refuse_state(task, why="privacy counts what each example adds by itself")
    return task._replace(data=task.data._replace(train=sampled(task.data.train, seed=seed)))


def sampled(train: Dataset, *, seed: int) -> Dataset:
    """Batches that take each example with one probability, by itself: a pure function of (seed,
    step).

    A batch has rows for as many examples as are ever drawn, and those that are left are empty. Of
    an example that several rows hold (windows of a long sentence) it has one of them, by chance.
    What is random in a row, such as augmentation, is drawn anew in each batch.

    Raises:
      UserError: a row holds several examples.
    """
    num_examples = len(np.unique(one_a_row(train, epoch=0, why=_WHY)))
    asked = min(1.0, train.batch_rows / num_examples)
    binom = _library("scipy.stats").binom  # half a second that other runs do without
    most = min(num_examples, int(binom.isf(_OVERFLOW, num_examples, asked)) + 1)
    num_rows = round(most / asked)
    rate = most / num_rows

    @functools.lru_cache(maxsize=8)
    def drawn(step: int) -> np.ndarray:
        """Numbers of rows of `train`, in its epoch `step`: one for each example of the batch."""
        _, first = np.unique(one_a_row(train, epoch=step, why=_WHY), return_index=True)
        stream = np.random.Philox(np.random.SeedSequence((seed, step, _SAMPLING)))
        chances = (stream.random_raw(num_examples) >> np.uint64(11)) * 2.0**-53
        in_order = np.argsort(chances, kind="stable")[:most]
        chosen = in_order[chances[in_order] < rate]
        return step * train.num_rows + first[chosen]

    return examples.by_step(train, drawn, batch_rows=most)._replace(
        num_rows=num_rows,
        num_examples=num_examples,
        fill=train.fill * num_examples / num_rows,
    )


# --- the gradient ---


def gradients(inner: Gradients, privacy: Privacy, task: Task, *, num_updates: int) -> Gradients:
    """`inner` of each row by itself, clipped, summed, with noise, over the expected number of rows.

    Args:
      inner: how the gradient comes about otherwise.
      task: of `as_trained`.
    Raises:
      UserError: jax-privacy or dp-accounting is not installed; an epsilon that no noise gives.
    """
    if not privacy.is_on:
        return inner
    sampling, multiplier = Sampling.of(task.data.train), privacy.noise_multiplier
    if multiplier is None:
        multiplier = solve(
            privacy.epsilon, delta=privacy.delta, sampling=sampling, num_updates=num_updates
        )
    spent = epsilon(multiplier, delta=privacy.delta, sampling=sampling, num_updates=num_updates)
    std = multiplier * privacy.clip_norm

    def mean(grads: Any, key: jax.Array) -> Any:
        key = jax.random.fold_in(key, _NOISE)
        noisy = [
            g + std * jax.random.normal(jax.random.fold_in(key, i), g.shape, g.dtype)
            for i, g in enumerate(grads)
        ]
        return [g / sampling.expected for g in noisy]

    told = (
        f"epsilon {spent:.3f} at delta {privacy.delta:g} for any one of {sampling.num_examples:,} "
        f"examples; noise multiplier {multiplier:.3f}, gradients of examples clipped to "
        f"{privacy.clip_norm:g}, {num_updates:,} updates that take each with probability "
        f"{sampling.rate:.4f}"
    )
    return Gradients(
        functools.partial(_clipped, inner, clip_norm=privacy.clip_norm),
        notes=(*inner.notes, f"privacy: {told}"),
        mean=mean,
        facts=(*inner.facts, ("privacy", told)),
    )


def _clipped(
    inner: Gradients, objective: Objective, key: jax.Array, *, clip_norm: float
) -> Gradient:
    """The sum of the gradients of single rows, each clipped; and of their sums."""
    summed = _library("jax_privacy.clipping").clipped_fun(
        inner.of(objective, key), has_aux=True, batch_argnums=2, l2_clip_norm=clip_norm
    )

    def gradient(params: Any, model_state: Any, rows: Any) -> Any:
        grads, (sums, _) = summed(params, model_state, dict(rows))
        return grads, (jax.tree.map(lambda x: x.sum(0), sums), model_state)

    return gradient


# --- what it promises ---


def epsilon(multiplier: float, *, delta: float, sampling: Sampling, num_updates: int) -> float:
    """What so many updates tell of one example that is there or not (add or remove one), by the
    distribution of the privacy loss (Koskela et al. 2020), as dp-accounting counts it: an upper
    bound, and where there is next to no privacy a rough one. Poisson sampling is taken for what it
    is meant to be: an update overflows its rows with a chance of 1e-15."""
    given = (multiplier, delta, sampling, num_updates)
    rough = rough_epsilon(multiplier, delta=delta, sampling=sampling, num_updates=num_updates)
    if rough > 100:
        return rough
    accountant = _library("dp_accounting.pld").PLDAccountant(value_discretization_interval=_FINEST)
    return _spent(accountant, *given)


def rough_epsilon(
    multiplier: float, *, delta: float, sampling: Sampling, num_updates: int
) -> float:
    """As `epsilon`, larger and faster: by Renyi differential privacy (Mironov 2017)."""
    orders = [*range(2, 65), *range(72, 513, 8)]
    accountant = _library("dp_accounting.rdp").RdpAccountant(orders)
    return _spent(accountant, multiplier, delta, sampling, num_updates)


def solve(target: float, *, delta: float, sampling: Sampling, num_updates: int) -> float:
    """The smallest noise multiplier, in thousandths, that keeps to `target`.

    In thousandths, so that the last bits of another machine's accountant change no run.

    Raises:
      UserError: there is none up to 1000.
    """
    given = {"delta": delta, "sampling": sampling, "num_updates": num_updates}

    def smallest(count: Callable[..., float], *, low: int, high: int) -> int:
        """`high` keeps to it, and `low` does not."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if count(middle / 1000, **given) <= target else (middle, high)
        return high

    high = 10**6
    if rough_epsilon(high / 1000, **given) > target:
        raise UserError(
            f"privacy.epsilon={target}: takes noise of more than 1000 times the clipped norm; "
            "allow more, train for fewer updates, or take fewer examples an update"
        )
    high = smallest(rough_epsilon, low=100, high=high)
    low = high * 3 // 4
    while low > 100 and epsilon(low / 1000, **given) <= target:
        low, high = low * 3 // 4, low
    return smallest(epsilon, low=low, high=high) / 1000


def _spent(
    accountant: Any, multiplier: float, delta: float, sampling: Sampling, num_updates: int
) -> float:
    accounting = _library("dp_accounting")
    update = accounting.PoissonSampledDpEvent(sampling.rate, accounting.GaussianDpEvent(multiplier))
    accountant.compose(update, num_updates)
    return float(accountant.get_epsilon(delta))


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"privacy needs {error.name}; install it with: pip install 'bigjax[privacy]'"
        ) from error
