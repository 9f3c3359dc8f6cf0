"""Owns what a task says of its trained model as it leaves the program: the function that is handed
over, examples that prove that it is still the same, and how it looks as a Hugging Face folder."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Input(NamedTuple):
    """An array that the function takes. dims: numbers, and names of those that vary ("batch").
    dtype: of numpy."""

    dims: tuple[int | str, ...]
    dtype: str


class Samples(NamedTuple):
    """Examples of a split, as they are given to the function.

    batches: names of inputs to arrays, a batch of another size now and then.
    compared: logits of all batches -> those that mean something, float (N, C).
    answers: logits of all batches -> what people read, for each example: what JSON can hold.
    given: each example as `example.py` takes it, such that its `answer` should be that of
      `answers`; None where that can differ. JSON can hold it.
    score: logits of all batches -> the task's first score.
    """

    batches: Sequence[Mapping[str, np.ndarray]]
    compared: Callable[[Sequence[np.ndarray]], np.ndarray]
    answers: Callable[[Sequence[np.ndarray]], list[Any]]
    given: Sequence[Any]
    score: Callable[[Sequence[np.ndarray]], float]


class Folder(NamedTuple):
    """A model as transformers loads it.

    arrays: float32, by transformers' names.
    config: `config.json`.
    files: the others, name -> content.
    beside: names of safetensors files to arrays that transformers does not know.
    example: `example.py`: `run` as that of the other formats, and `answer`.
    pipeline: what transformers' `pipeline` calls what it does.
    usage: Python, for the model card.
    note: what is to be known of it, "" for nothing.
    """

    arrays: Mapping[str, np.ndarray]
    config: Mapping[str, Any]
    files: Mapping[str, str]
    example: str
    pipeline: str
    usage: str
    note: str = ""
    beside: Mapping[str, Mapping[str, np.ndarray]] = {}  # noqa: RUF012 - read only


class Portable(NamedTuple):
    """What of a task can leave, and how.

    inputs: name -> Input.
    outputs: dims of the logits.
    limits: the most that an input's dimension may be, by its name, where there is such a limit.
    buckets: sizes of the dimensions that vary, for functions of fixed sizes.
    params: variables of the run, numpy -> float32 numpy, as `apply` takes them.
    apply: (params, inputs) -> logits, float32; traceable, one example a row, nothing random.
    samples: (params, split, the most examples or None for all) -> Samples.
    files: params -> what lies beside the function, name -> content.
    imports, example: of `example.py`: what `answer` imports, and the end of it, which defines
      `answer` by `run(**inputs) -> logits` and `HERE`, its folder.
    huggingface: params -> Folder. UserError, with the reason, where transformers has no such model.
    things: what an example is ("sentences").
    """

    inputs: Mapping[str, Input]
    outputs: tuple[int | str, ...]
    limits: Mapping[str, int]
    buckets: Sequence[Mapping[str, int]]
    params: Callable[[Any], Any]
    apply: Callable[[Any, Mapping[str, jax.Array]], jax.Array]
    samples: Callable[[Any, str, int | None], Samples]
    files: Callable[[Any], Mapping[str, str]]
    imports: str
    example: str
    huggingface: Callable[[Any], Folder]
    things: str
