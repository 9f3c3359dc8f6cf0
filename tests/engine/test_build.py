"""What an update takes of a device's memory, and the accumulation that makes it fit."""

import pytest
from conftest import ROOT

from bigjax.config import values as configs
from bigjax.engine import cost, settings
from bigjax.engine.build import Setup
from bigjax.engine.build import build as build_setup
from bigjax.errors import UserError
from bigjax.modes.check import check

FILE = f"{ROOT}/configs/cnn_digits.py"


def config(**batch: str) -> configs.Config:
    overrides = {"batch.rows": "512", "mesh": "data=8"}
    overrides |= {f"batch.{key}": value for key, value in batch.items()}
    return configs.load(FILE, overrides=overrides, schema=settings.schema)


def build(**batch: str) -> Setup:
    return build_setup(config(**batch))


def test_auto_accumulates_as_little_as_fits_and_check_proposes_it(capsys):
    whole = build()
    peak = cost.peak_memory(whole.compiled)
    assert build(accumulate="auto").num_microbatches == 1
    gib = 0.9 * peak / cost.SHARE / 2**30
    found = build(accumulate="auto", device_memory_gib=str(gib))
    assert found.num_microbatches > 1
    assert cost.peak_memory(found.compiled) <= 0.9 * peak
    half = build(accumulate=str(found.num_microbatches // 2))
    assert cost.peak_memory(half.compiled) > 0.9 * peak
    check(config(device_memory_gib=str(gib)))
    proposed = f"DOES NOT FIT: --config.batch.accumulate={found.num_microbatches} does\n"
    assert proposed in capsys.readouterr().out


def test_check_says_that_nothing_fits(capsys):
    check(config(device_memory_gib="0.001", rows="4"))
    assert "DOES NOT FIT, nor in parts: batch.accumulate=auto: an update" in capsys.readouterr().out


def test_a_model_that_fits_in_no_way_is_one_line():
    with pytest.raises(UserError, match="accumulate=auto: an update takes .* mesh=fsdp=N") as error:
        build(accumulate="auto", device_memory_gib="0.001", rows="4")
    assert "\n" not in str(error.value)
