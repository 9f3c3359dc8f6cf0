"""What a run writes about itself: read back from the files, resumed, and exchangeable with the
writers of CLU."""

import html
import importlib.util
import inspect
import io
import json
import math
import re
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, module_at

from bigjax.config import values
from bigjax.engine import settings
from bigjax.errors import UserError
from bigjax.loop.loop import writers_of
from bigjax.run_folder.tensorboard import TensorBoard
from bigjax.run_folder.writers import JsonLines, Terminal, Writers


@pytest.fixture(scope="module")
def clu_writer() -> type:
    """CLU's interface, from its file alone: the package imports TensorFlow."""
    package = importlib.util.find_spec("clu")
    if package is None:
        pytest.skip("needs the package clu")
    path = Path(package.origin).parent / "metric_writers" / "interface.py"
    module = module_at(path)
    assert "tensorflow" not in sys.modules
    return module.MetricWriter


# --- metrics.jsonl ---


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_write_is_one_object_on_one_line_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = JsonLines(str(path), resume_at=0)
    writer.write_scalars(1, {"train/loss": 0.5, "train/grad_norm": np.float32(2)})
    writer.write_scalars(np.int64(2), {"train/loss": jnp.float32(0.25)})
    expected = [
        {"step": 1, "train/loss": 0.5, "train/grad_norm": 2.0},
        {"step": 2, "train/loss": 0.25},
    ]
    assert lines_of(path) == expected, "before it is closed: a run may be killed at any time"
    writer.close()
    assert lines_of(path) == expected


def test_what_is_not_finite_is_null_so_that_every_line_is_strict_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = JsonLines(str(path), resume_at=0)
    writer.write_scalars(1, {"nan": math.nan, "up": math.inf, "down": np.float32(-np.inf), "x": 1})
    writer.close()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    line = json.loads(path.read_text(), parse_constant=refuse)
    assert line == {"step": 1, "nan": None, "up": None, "down": None, "x": 1.0}


def test_a_resumed_run_goes_on_after_the_step_it_resumes_at(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(str(path), resume_at=0)
    for step in (10, 20, 30):
        first.write_scalars(step, {"train/loss": step})
        if step == 20:
            first.write_scalars(step, {"dev/loss": 0.0})
    first.close()
    resumed = JsonLines(str(path), resume_at=20)
    resumed.write_scalars(30, {"train/loss": -1})
    resumed.close()
    assert lines_of(path) == [
        {"step": 10, "train/loss": 10.0},
        {"step": 20, "train/loss": 20.0},
        {"step": 20, "dev/loss": 0.0},
        {"step": 30, "train/loss": -1.0},
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    "broken",
    [b'{"step": 2, "tra', b'{"step": 2}', b"\xff\xfe\n", b"[2]\n", b'{"x": 1}\n', b"7\n", b"\n"],
)
def test_a_line_cut_off_or_damaged_by_a_crash_is_dropped_and_the_others_stay(tmp_path, broken):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 10}\n' + broken)
    writer = JsonLines(str(path), resume_at=50)
    writer.write_scalars(60, {})
    writer.close()
    assert lines_of(path) == [{"step": 10}, {"step": 60}]


# --- TensorBoard ---


def events_of(folder: Path) -> list:
    """The events in a folder's one file: records of length, checksum, data and checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.out.tfevents.*")
    data, events, at = path.read_bytes(), [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        events.append(Event.FromString(data[at + 12 : at + 12 + size]))
        at += 12 + size + 4
    return events


def test_a_score_that_is_nan_is_written_without_a_word(tmp_path, caplog):
    writer = TensorBoard(str(tmp_path), resume_at=0)
    writer.write_scalars(1, {"dev/auc": math.nan})
    writer.close()
    assert not caplog.records


def test_scalars_in_event_files_read_back_with_their_steps(tmp_path):
    writer = TensorBoard(str(tmp_path), resume_at=0)
    written = [(1, {"train/loss": 0.5}), (7, {"train/loss": jnp.float32(0.25), "dev/f1": 0.75})]
    for step, scalars in written:
        writer.write_scalars(step, scalars)
    writer.flush()
    writer.close()
    found = [(e.step, v.tag, v.simple_value) for e in events_of(tmp_path) for v in e.summary.value]
    assert found == [
        (step, tag, float(value)) for step, scalars in written for tag, value in scalars.items()
    ]


def test_a_resumed_run_hides_what_the_interrupted_one_wrote_past_its_last_checkpoint(tmp_path):
    TensorBoard(str(tmp_path), resume_at=20).close()
    # SessionLog.START tells TensorBoard to drop this step and what comes after it.
    assert [e.step for e in events_of(tmp_path) if e.session_log.status == 1] == [21]


def test_texts_histograms_and_settings_are_in_the_event_file(tmp_path):
    writer = TensorBoard(str(tmp_path), resume_at=0)
    writer.write_texts(4, {"note": "a *note*"})
    writer.write_histograms(5, {"weights": np.arange(100.0)}, {"weights": 4})
    writer.write_histograms(6, {"biases": np.arange(3.0)})
    writer.write_hparams({"optim.learning_rate": 3e-5})
    writer.close()
    values = [(e.step, value) for e in events_of(tmp_path) for value in e.summary.value]
    by_step = {step: value for step, value in values if step}
    assert by_step[4].tensor.string_val == [b"a *note*"]
    assert by_step[5].histo.num == 100
    assert len(by_step[5].histo.bucket) <= 5
    assert by_step[6].histo.sum == 3.0
    (settings,) = [value for step, value in values if step == 0]
    assert b"| optim.learning_rate | 3e-05 |" in settings.tensor.string_val[0]


def test_a_setting_stands_in_the_table_as_it_is_whatever_is_in_it(tmp_path):
    settings = {
        "optim.weight_decay_rules": ((r".*(bias|scale)", 0.0), (".*", 1.0)),
        "data.train": "C:\\new\\|a_b_c|`*x*`\n<b>&amp;[é](x)~~~",
        "data.dev": "",
    }
    writer = TensorBoard(str(tmp_path), resume_at=0)
    writer.write_hparams(settings)
    writer.close()
    (table,) = [v.tensor.string_val[0] for e in events_of(tmp_path) for v in e.summary.value]
    rows = table.decode().split("\n")[2:]
    cells = [re.fullmatch(r"\| ([\w.]+) \| ([\w .&#;-]*) \|", row).groups() for row in rows]
    assert {name: html.unescape(cell) for name, cell in cells} == {
        name: str(value) for name, value in settings.items()
    }


def test_images_are_in_the_event_file(tmp_path):
    writer = TensorBoard(str(tmp_path), resume_at=0)
    writer.write_images(3, {"input": np.zeros((2, 4, 5, 3), np.uint8)})
    writer.close()
    (image,) = [v.image for e in events_of(tmp_path) for v in e.summary.value]
    assert (image.height, image.colorspace) == (4, 3)


# --- the terminal ---


def test_without_a_terminal_each_write_is_a_plain_line(capsys):
    labels = {"loss": "loss", "accuracy": "accuracy", "entity_f1": "F1"}
    terminal = Terminal(start=0, total_steps=200, labels=labels)
    terminal.advance(7)
    terminal.write_scalars(7, {"train/loss": 0.12345, "train/unknown": 5, "train/accuracy": 0.5})
    terminal.write_scalars(7, {"dev/entity_f1": 0.91, "dev/loss": 1, "test/loss": 2})
    terminal.flush()
    terminal.close()
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert re.fullmatch(
        r"step   7/200  train  loss 0\.123\d  accuracy 0\.5000  \d+:\d\d left", lines[0]
    )
    assert lines[1:] == [
        "step   7/200  dev    loss 1.0000  F1 0.9100",
        "step   7/200  test   loss 2.0000",
    ]


def test_the_time_left_is_that_of_the_steps_to_come_at_the_speed_since_the_start(
    capsys, monkeypatch
):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("bigjax.run_folder.writers.time.monotonic", lambda: clock.now)
    terminal = Terminal(start=50, total_steps=200)
    clock.now += 25.0  # 50 steps at half a second each, 100 to go
    terminal.write_scalars(100, {"train/loss": 1.0})
    terminal.close()
    assert capsys.readouterr().out.rstrip().endswith("0:50 left")


def test_on_a_terminal_there_is_a_bar_and_only_evaluations_are_lines(capsys, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    terminal = Terminal(start=2, total_steps=4)
    for step in (3, 4):
        terminal.advance(step)
        terminal.write_scalars(step, {"train/loss": 0.5})
    terminal.write_scalars(4, {"dev/loss": 0.75})
    terminal.close()
    assert "4/4" in screen.getvalue()
    assert capsys.readouterr().out == "step 4/4  dev    loss 0.7500\n"


# --- several writers ---


def test_writers_have_every_method_of_clu_with_parameters_that_fit(clu_writer):
    for name in clu_writer.__abstractmethods__:
        theirs = inspect.signature(getattr(clu_writer, name)).parameters
        ours = inspect.signature(getattr(Writers, name)).parameters
        for parameter, expected in theirs.items():
            assert parameter in ours, f"{name}({parameter})"
            assert ours[parameter].kind == expected.kind
            assert ours[parameter].default == expected.default
        assert list(ours)[: len(theirs)] == list(theirs), f"{name}: the order of its parameters"
        more = list(ours.values())[len(theirs) :]
        assert all(p.default is not p.empty or p.kind == p.VAR_KEYWORD for p in more), name


@pytest.mark.parametrize("kind", [JsonLines, TensorBoard, Terminal])
def test_the_methods_that_a_writer_of_ours_has_fit_those_of_clu(clu_writer, kind):
    assert {"write_scalars", "flush", "close"} <= set(dir(kind))
    for name in clu_writer.__abstractmethods__ & set(dir(kind)):
        theirs = inspect.signature(getattr(clu_writer, name)).parameters
        ours = inspect.signature(getattr(kind, name)).parameters
        assert list(ours) == list(theirs), name
        assert [p.default for p in ours.values()] == [p.default for p in theirs.values()], name


CALLS = [
    ("write_summaries", (1, {"a": 2}), {"metadata": {"b": 3}}),
    ("write_scalars", (1, {"a": 2.0}), {}),
    ("write_images", (1, {"a": np.zeros((1, 2, 2, 3))}), {}),
    ("write_videos", (1, {"a": np.zeros((1, 2, 2, 2, 3))}), {}),
    ("write_audios", (1, {"a": np.zeros((1, 8, 1))}), {"sample_rate": 8}),
    ("write_texts", (1, {"a": "text"}), {}),
    ("write_histograms", (1, {"a": np.zeros(4)}), {"num_buckets": {"a": 2}}),
    ("write_hparams", ({"a": 1},), {}),
    ("flush", (), {}),
    ("close", (), {}),
]


def test_a_writer_of_clu_beside_ours_gets_every_call_and_ours_only_what_they_can_write(
    clu_writer, tmp_path
):
    received = []

    def recorder(name: str):
        signature = inspect.signature(getattr(clu_writer, name))

        def method(self, *args, **kwargs):
            received.append((name, signature.bind(self, *args, **kwargs).arguments))

        return method

    methods = {name: recorder(name) for name in clu_writer.__abstractmethods__}
    theirs = type("Recorder", (clu_writer,), methods)()
    path = tmp_path / "metrics.jsonl"
    writers = Writers([JsonLines(str(path), resume_at=0), theirs])
    assert {name for name, _, _ in CALLS} >= clu_writer.__abstractmethods__ - {"write_pointcloud"}
    for name, args, kwargs in CALLS:
        getattr(writers, name)(*args, **kwargs)
    assert [name for name, _ in received] == [name for name, _, _ in CALLS]
    for (name, found), (_, args, kwargs) in zip(received, CALLS):
        expected = inspect.signature(getattr(clu_writer, name)).bind(theirs, *args, **kwargs)
        for parameter, value in expected.arguments.items():
            assert found[parameter] is value, (name, parameter)
    assert lines_of(path) == [{"step": 1, "a": 2.0}]


def writers_with(workdir: Path, **overrides: str) -> Writers:
    """Those of a run of one step."""
    found = values.load(
        str(ROOT / "configs" / "cnn_digits.py"), overrides=overrides, schema=settings.schema
    )
    task = SimpleNamespace(scoring=SimpleNamespace(declared=()))
    setup = SimpleNamespace(config=found, total_steps=1, task=task)
    writers, _ = writers_of(setup, workdir=str(workdir), step=0)
    return writers


def test_the_default_writer_of_clu_stands_beside_ours_where_that_is_asked_for(
    tmp_path, monkeypatch
):
    made, written = [], []

    def create_default_writer(logdir, **options):
        made.append((logdir, options))
        return SimpleNamespace(
            write_scalars=lambda step, scalars: written.append((step, scalars)),
            close=lambda: written.append("closed"),
        )

    fake = SimpleNamespace(create_default_writer=create_default_writer)
    monkeypatch.setitem(sys.modules, "clu", SimpleNamespace(metric_writers=fake))
    gpus = SimpleNamespace(set_visible_devices=lambda devices, kind: made.append((devices, kind)))
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=gpus))
    writers_with(tmp_path).close()
    assert not made
    writers = writers_with(tmp_path, **{"log.clu": "True"})
    writers.write_scalars(1, {"train/loss": 2.0})
    writers.advance(1)  # no method of CLU's
    writers.close()
    assert made == [([], "GPU"), (str(tmp_path / "clu"), {"asynchronous": False})]
    assert written == [(1, {"train/loss": 2.0}), "closed"]
    assert lines_of(tmp_path / "metrics.jsonl") == [{"step": 1, "train/loss": 2.0}]


@pytest.mark.parametrize("absent", ["clu", "tensorflow"])
def test_a_package_that_the_writer_of_clu_misses_is_one_line_with_the_command(
    tmp_path, monkeypatch, absent
):
    for name in ("clu", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None if name == absent else SimpleNamespace())
    expected = f"log.clu=True needs the package '{absent}': pip install 'bigjax[clu]'"
    with pytest.raises(UserError, match=rf"^{re.escape(expected)}$"):
        writers_with(tmp_path, **{"log.clu": "True"})
