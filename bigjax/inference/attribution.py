"""Owns how much each part of an input did for what a model said of it: integrated gradients
(Sundararajan et al. 2017), of any task.

What was said, and what the input is compared with, are the task's (`Use.questions`). Suffixes: P
points of a way, R rows.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from bigjax.engine import param_dtypes
from bigjax.errors import UserError
from bigjax.inference.predictor import Predictor
from bigjax.tasks.task import Model, Question

# float32 (P, R, ...) -> the score at each point (P,), and its gradient there (P, R, ...)
Ask = Callable[[np.ndarray], tuple[Any, Any]]
_AT_ONCE = 16  # points that are computed together, always as many: one program serves every way
# Of a way, besides its two ends; more until the parts sum to what they should.
NUM_POINTS = tuple(_AT_ONCE * n - 2 for n in (1, 2, 4, 8, 16))


class Attribution(NamedTuple):
    """parts: float64, like the array that was varied: what each number of it adds to the score.
    score, baseline: log-probability of what was said, with the input and without it.
    error: what the sum of `parts` has too much to be `score - baseline`, to which it would be equal
      with endlessly many points.
    """

    parts: np.ndarray
    score: float
    baseline: float
    error: float
    num_points: int


def asker(model: Model) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """jitted (variables, frozen, batch, name, float32 (P, R, ...)) -> as `Ask`: the log-probability
    of the labels of the batch, summed over its rows, with each of P arrays in the place of `name`.
    """

    def ask(variables: Any, frozen: Any, batch: Mapping[str, Any], varied: Any) -> Any:
        given = {**variables, "params": param_dtypes.widen(variables["params"])}
        given |= {"frozen": frozen} if frozen else {}

        def score(varied: Any) -> jax.Array:
            rows = {**batch, **varied}
            outputs, _ = model.apply(given, rows, None)
            return -model.eval_sums(outputs, rows)["loss"].total

        return jax.vmap(jax.value_and_grad(score))(varied)

    jitted = jax.jit(ask)

    def named(
        variables: Any, frozen: Any, batch: Mapping[str, Any], name: str, points: np.ndarray
    ) -> tuple[jax.Array, jax.Array]:
        values, grads = jitted(variables, frozen, dict(batch), {name: points})
        return values, grads[name]

    return named


def attribute(question: Question, ask: Ask, *, tolerance: float = 0.01) -> Attribution:
    """Why the model says what the question says it said.

    Args:
      tolerance: the error that is small enough, as a share of `score - baseline`, or of 1 where
        that is less.
    """
    for num_points in NUM_POINTS:
        found = integrated_gradients(
            ask, value=question.value, baseline=question.baseline, num_points=num_points
        )
        if abs(found.error) <= tolerance * max(1.0, abs(found.score - found.baseline)):
            break
    return found


def integrated_gradients(
    ask: Ask, *, value: np.ndarray, baseline: np.ndarray, num_points: int
) -> Attribution:
    """(value - baseline) times the mean of the gradient on the straight way between them, by
    Gauss-Legendre quadrature, which is exact for polynomials of degree 2 `num_points` - 1."""
    nodes_P, weights_P = np.polynomial.legendre.leggauss(num_points)
    shares_P, weights_P = np.r_[1, 0, (nodes_P + 1) / 2], np.r_[0, 0, weights_P / 2]
    way, mean, values = value.astype(np.float64) - baseline, np.zeros(value.shape), []
    for first in range(0, len(shares_P), _AT_ONCE):
        shares = shares_P[first : first + _AT_ONCE]
        shares = np.r_[shares, np.zeros(_AT_ONCE - len(shares))]
        points = np.stack([baseline + share * way for share in shares]).astype(np.float32)
        found, grads = ask(points)
        values += np.asarray(found, np.float64).tolist()
        weights = np.resize(weights_P[first : first + _AT_ONCE], _AT_ONCE)
        weights[len(weights_P) - first :] = 0
        mean += np.tensordot(weights, np.asarray(grads, np.float64), axes=1)
    parts = way * mean
    error = float(parts.sum()) - (values[0] - values[1])
    return Attribution(parts, values[0], values[1], error, num_points)


class Explanation(NamedTuple):
    """said: for people. why: how it came about. shown: what each part of the input did, as
    `Question.show` has it."""

    said: str
    why: Attribution
    shown: dict[str, Any]


def explanations(
    predictor: Predictor, one: Any, answer: Mapping[str, Any]
) -> Iterator[Explanation]:
    """Of everything that was answered of a prepared input, one after the other.

    Raises:
      UserError: nothing of this task can be explained, or several models answered together.
    """
    questions = predictor.task.use.questions
    if questions is None:
        raise UserError(f"what models of {predictor.task.name} say cannot be explained")
    if len(predictor.members) > 1:
        raise UserError(f"--workdir={predictor.name}: only what one model says can be explained")
    (member,) = predictor.members
    ask = _asker(predictor.task.model)
    for question in questions(one, answer, member.variables):
        given = (member.variables, member.frozen, question.batch, question.varied)
        why = attribute(question, functools.partial(ask, *given))
        yield Explanation(question.said, why, question.show(why.parts))


_asker = functools.lru_cache(maxsize=4)(asker)  # what is compiled serves the next input
