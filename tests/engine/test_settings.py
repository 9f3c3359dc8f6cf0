"""Shared settings: the limits of numbers, and which functions take a section."""

from pathlib import Path

import pytest
from conftest import ROOT

from bigjax.config import values
from bigjax.engine import settings
from bigjax.errors import UserError

FILE = str(ROOT / "configs" / "bert_ner.py")


def load(**overrides: str) -> values.Config:
    texts = {key.replace("__", "."): value for key, value in overrides.items()}
    return values.load(FILE, overrides=texts, schema=settings.schema)


@pytest.mark.parametrize("variant", ["", ":scratch", ":wikiann", ":conll2003", ":files"])
def test_every_shipped_variant_is_within_the_limits(variant: str) -> None:
    settings.check_limits(values.load(FILE + variant, overrides={}, schema=settings.schema))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log.every_steps", "0"),
        ("optim.learning_rate", "-1e-5"),
        ("optim.learning_rate", "nan"),
        ("model.dropout", "1.5"),
        ("batch.accumulate", "0"),
        ("ema_decay", "1.01"),
    ],
)
def test_a_number_outside_its_limits_is_refused_by_name(key: str, value: str) -> None:
    try:
        found = values.load(FILE, overrides={key: value}, schema=settings.schema)
    except UserError as error:  # "nan" is not a number to begin with
        assert key in str(error)
        return
    with pytest.raises(UserError, match=key.replace(".", r"\.")):
        settings.check_limits(found)


def test_every_limit_is_of_a_setting_that_exists() -> None:
    known = set()
    for variant in ("", ":scratch", ":files"):
        for schedule in ("linear", "rsqrt"):
            overrides = {"schedule.name": schedule}
            found = values.load(FILE + variant, overrides=overrides, schema=settings.schema)
            known |= set(found.flat())
    images = str(Path(FILE).parent / "cnn_folder.py")
    known |= set(values.load(images, overrides={}, schema=settings.schema).flat())
    assert set(settings.LIMITS) <= known


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [
        ("task", "token_taging", "token_tagging"),
        ("optim.name", "lamp", "lamb"),
        ("schedule.name", "cosin", "cosine"),
        ("data.source", "new", "news"),
    ],
)
def test_an_unknown_choice_names_the_nearest(key: str, value: str, near: str) -> None:
    with pytest.raises(UserError, match=near):
        values.load(FILE, overrides={key: value}, schema=settings.schema)
