"""bigjax: train Flax models from a laptop to a TPU pod without a change of code."""

from typing import Any

__version__ = "0.1.0"


def load(place: str, *, overrides: dict[str, str] | None = None) -> Any:
    """A trained model, ready to be called: a `bigjax.inference.predictor.Predictor`.

        model = bigjax.load("runs/ner")
        model(["Angela Merkel visited Paris."])

    Args:
      place: the folder of a run, a Hugging Face folder or hub name with a head that a task of ours
        knows; or several parted by commas, whose probabilities are averaged.
      overrides: settings by name, as text: {"decode.kind": "argmax"}.
    Raises:
      bigjax.errors.UserError: a ValueError of one line that says what is wrong and what to do.
    """
    from bigjax.inference.predictor import load

    return load(place, overrides=overrides)
