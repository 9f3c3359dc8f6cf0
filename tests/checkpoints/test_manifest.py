"""What a checkpoint is said to be is read as it was written, or is refused."""

import json
import math
import os
from pathlib import Path

import pytest

from bigjax.checkpoints import manifest
from bigjax.checkpoints.manifest import DamagedCheckpoint, Manifest
from bigjax.errors import UserError

FULL = Manifest(
    step=7,
    facts={
        "best_score": 0.1 + 0.2,
        "best_step": None,
        "names": ["é", "\udcff"],
        "x": {"y": 1e-310},
    },
    score=-1e22,
    arrays={"params/a": ("bfloat16", (3, 4), "0123456789abcdef"), "step": ("int32", (), "00")},
    files={"state/d/0": (12, "ab" * 32)},
)


def written(folder: Path) -> Path:
    manifest.write(str(folder), manifest=FULL)
    return folder / "checkpoint.json"


def test_it_is_read_as_it_was_written(tmp_path):
    written(tmp_path)
    assert manifest.read(str(tmp_path)) == FULL
    assert os.listdir(tmp_path) == ["checkpoint.json"]


def test_a_score_that_is_no_number_is_read_too(tmp_path):
    manifest.write(str(tmp_path), manifest=FULL._replace(facts={"loss": math.nan}))
    assert math.isnan(manifest.read(str(tmp_path)).facts["loss"])


def test_every_change_of_every_byte_is_found(tmp_path):
    path = written(tmp_path)
    content = path.read_bytes()
    for index in range(len(content)):
        for flip in (0x01, 0x20, 0x80, content[index] ^ 0x20 or 0xFF):
            path.write_bytes(
                content[:index] + bytes([content[index] ^ flip]) + content[index + 1 :]
            )
            with pytest.raises(DamagedCheckpoint, match="checkpoint.json has other bytes"):
                manifest.read(str(tmp_path))


CONTENTS = {
    "empty": b"",
    "a list": b"[]",
    "no hash": b"{}",
    "deep": b"[" * 100_000,
    "null": b"null",
}


@pytest.mark.parametrize("case", CONTENTS)
def test_other_content_is_damage(tmp_path, case):
    written(tmp_path).write_bytes(CONTENTS[case])
    with pytest.raises(DamagedCheckpoint, match="checkpoint.json has other bytes") as error:
        manifest.read(str(tmp_path))
    assert "\n" not in str(error.value)


def test_every_shortened_one_is_damage(tmp_path):
    path = written(tmp_path)
    for size in range(path.stat().st_size - 1, -1, -1):
        os.truncate(path, size)
        with pytest.raises(DamagedCheckpoint):
            manifest.read(str(tmp_path))


def test_of_none_it_is_said_where_it_was_expected(tmp_path):
    expected = (
        f"checkpoint {tmp_path.name} in {tmp_path.parent} is damaged: checkpoint.json is miss"
    )
    with pytest.raises(DamagedCheckpoint) as error:
        manifest.read(str(tmp_path))
    assert str(error.value).startswith(expected)
    assert error.value.problem == "checkpoint.json is missing"


def test_a_newer_format_is_refused_and_not_called_damaged(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", 2)
        written(tmp_path)
        assert json.loads((tmp_path / "checkpoint.json").read_bytes())["format"] == 2
    with pytest.raises(UserError, match="of a newer format than this version of bigjax reads") as e:
        manifest.read(str(tmp_path))
    assert not isinstance(e.value, DamagedCheckpoint)


def test_one_that_cannot_be_written_leaves_that_before_it(tmp_path, monkeypatch):
    written(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            manifest.write(str(tmp_path), manifest=FULL._replace(step=8))
    assert manifest.read(str(tmp_path)) == FULL


def test_a_file_system_with_nothing_to_flush_for_a_folder_is_no_obstacle(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fail)
    manifest.flush(str(tmp_path))
