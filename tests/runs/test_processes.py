"""Runs of several processes over real sockets: that nothing but rounding depends on how many there
are, that a run moves between them, and that none waits for one that is gone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
import warm
from conftest import ROOT, xla_flags
from jax.sharding import Mesh

from bigjax.checkpoints.save import Checkpoints
from bigjax.config import values as configs
from bigjax.engine import build, settings, sharding
from bigjax.trees import leaf_names

TOLERANCE = 1e-5
NUM_STEPS = 24
PATIENCE_SECONDS = 240  # with a run, on a busy machine
COMMON = """
    config.seed = 3
    config.num_steps = 24
    config.eval = {"every_steps": 8, "batch_rows": 32}
    config.checkpoint = {"every_steps": 5, "every_minutes": 0.02, "keep_latest": 2}
    config.log = {"every_steps": 1, "batches": True}
    config.watchdog = {"peer_seconds": 10.0}
    return config
"""
# The large eps: a gradient that is zero but for rounding, as that of a key's bias, moves nothing.
TAGGING = """import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "token_tagging"
    config.data = {"source": "news", "num_train": 120, "num_dev": 20, "num_test": 20}
    config.text = {"vocab_size": 300, "row_length": 32}
    config.model = {"num_layers": 1, "hidden_size": 16, "num_heads": 2, "mlp_size": 32}
    config.batch = {"examples": 10}
    config.optim = {"learning_rate": 1e-2, "eps": 1e-3}
"""
IMAGES = """import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "image_classification"
    config.data = {"source": "digits", "num_dev": 25, "num_test": 1672}
    config.augment = {"pad_crop": 1}
    config.model = {"name": "fast_cnn", "widths": (8, 8)}
    config.ema_decay = 0.9
    config.batch = {"rows": 30}
    config.optim = {"learning_rate": 1e-2, "eps": 1e-3}
"""
# main.py with a pause before each step, so that there is time to interrupt it.
PACED = """
import os, sys, time
import main
from bigjax.run_folder import ledger
add = ledger.Ledger.add
def paced(self, step):
    time.sleep(float(os.environ["PACE"]))
    add(self, step)
ledger.Ledger.add = paced
sys.exit(main.main(sys.argv[1:]))
"""


class Group:
    """The processes of a run, and what they print."""

    def __init__(self, topology, *flags, workdir, folders=(), pace=0.0):
        """topology: processes x devices. folders: where each process runs, if not in workdir."""
        num, num_devices = map(int, topology.split("x"))
        self.workdir = workdir
        workdir.mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = os.environ | {"XLA_FLAGS": xla_flags(num_devices), "PACE": str(pace)}
        self._outputs = [workdir / f"output.{time.monotonic_ns()}.{i}" for i in range(num)]
        self.processes = []
        for i, path in enumerate(self._outputs):
            joined = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={num}"]
            joined += [f"--process_id={i}"]
            self.processes.append(
                warm.start(
                    f"--workdir={workdir}",
                    *flags,
                    *(joined if num > 1 else ()),
                    program=PACED,
                    output=path,
                    env=environment,
                    cwd=folders[i] if folders else workdir,
                )
            )

    def wait(self):
        """The exit codes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            return [p.wait(max(0.1, deadline - time.monotonic())) for p in self.processes]
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running: {self.texts()}") from error
        finally:
            for process in self.processes:
                process.kill()

    def texts(self):
        return [path.read_text(errors="replace") for path in self._outputs]

    def end_well(self):
        assert self.wait() == [0] * len(self.processes), self.texts()
        return self

    def interrupt(self, number, kind, *, at):
        """Sends a signal to one process when the run has taken `at` batches."""
        while len(ledger(self.workdir)) < at:
            assert self.processes[number].poll() is None, self.texts()
            time.sleep(0.01)
        self.processes[number].send_signal(kind)


class Files(NamedTuple):
    tagging: Path
    images: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tagging.py").write_text(TAGGING + COMMON)
    (folder / "images.py").write_text(IMAGES + COMMON)
    return Files(folder / "tagging.py", folder / "images.py")


@pytest.fixture(scope="module")
def tagging(tmp_path_factory, files):
    """A whole run on four devices of one process."""
    workdir = tmp_path_factory.mktemp("runs") / "tagging"
    return Group("1x4", f"--config={files.tagging}", workdir=workdir).end_well()


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def ledger(workdir):
    path = workdir / "batches.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def numbers(workdir, name):
    """Step -> a number of metrics.jsonl."""
    return {x["step"]: x[name] for x in lines_of(workdir / "metrics.jsonl") if name in x}


def last_state(workdir, *, file):
    """The last checkpoint, restored on one device of this process."""
    with pytest.MonkeyPatch.context() as patch:
        one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), sharding.AXES)
        patch.setattr(sharding, "make_mesh", lambda spec: one)  # noqa: ARG005
        found = configs.load(str(file), overrides={}, schema=settings.schema)
        like = build.build(found).state
    checkpoints = Checkpoints(str(workdir), keep_latest=1, keep_best=1)
    state, facts = checkpoints.restore(NUM_STEPS, like=like)
    checkpoints.close()
    return jax.device_get(state), facts


def assert_same_run(workdir, other, *, file):
    """The same examples, and the rest equal to rounding."""
    assert ledger(workdir) == ledger(other)
    assert len(ledger(other)) == NUM_STEPS
    for name in ("train/loss", "train/grad_norm", "dev/loss", "test/loss"):
        found, expected = numbers(workdir, name), numbers(other, name)
        assert list(found) == list(expected)
        np.testing.assert_allclose(
            list(found.values()), list(expected.values()), rtol=TOLERANCE, atol=TOLERANCE
        )
    (found, facts), (expected, other_facts) = (last_state(x, file=file) for x in (workdir, other))
    assert facts["best_step"] == other_facts["best_step"]
    for name, a, b in zip(leaf_names(found), jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


# Devices of two processes on a mesh: rows of one process lie between those of the other, or are
# also the other's.
LAYOUTS = """
import os, sys
sys.path.insert(0, {root!r})
import jax, numpy as np
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from jax.sharding import Mesh
from bigjax.data.dataset import Dataset
from bigjax.engine import sharding

dataset = Dataset(
    rows=lambda numbers: {{"x": numbers[:, None] * np.ones(3, np.int32)}},
    examples=None, batch_rows=12, num_rows=60, num_examples=60, fill=1.0, fingerprint="",
)
expected = lambda step: np.array([12 * step + np.arange(12)] * 3).T
devices = np.array(jax.devices())
for layout in (devices.reshape(2, 3).T.reshape(6, 1, 1), devices.reshape(3, 1, 2)):
    mesh = Mesh(layout, sharding.AXES)
    one = sharding.put_batch(dataset, step=1, mesh=mesh, num_rows=12)["x"]
    more, num = sharding.put_batches(dataset, steps=range(2, 4), most=3, mesh=mesh, num_rows=12)
    assert int(num) == 2
    whole = np.stack([expected(2), expected(3), 0 * expected(0)])
    for array, values in ((one, expected(1)), (more["x"], whole)):
        assert array.shape == values.shape
        for shard in array.addressable_shards:
            np.testing.assert_array_equal(shard.data, values[shard.index])
"""


def test_each_process_puts_its_rows_where_they_belong_also_where_they_are_no_neighbours():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    command = [sys.executable, "-c", LAYOUTS.format(root=str(ROOT)), address]
    processes = [
        subprocess.Popen([*command, str(i)], env=environment, stderr=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors


def test_nothing_but_rounding_depends_on_the_processes_of_a_tagging_run(tmp_path, files, tagging):
    """Nor on the mesh. Runs of four processes of one device are below."""
    flags = [f"--config={files.tagging}", "--config.mesh=data=2,fsdp=2"]
    group = Group("2x2", *flags, workdir=tmp_path / "run").end_well()
    assert_same_run(group.workdir, tagging.workdir, file=files.tagging)
    for text in group.texts()[1:]:
        assert "step" not in text, "the first process alone says where the run is"
    assert len(list((group.workdir / "tensorboard").iterdir())) == 1


@pytest.mark.slow
def test_nothing_but_rounding_depends_on_the_processes_of_an_image_run(tmp_path, files):
    groups = [
        Group(topology, f"--config={files.images}", workdir=tmp_path / topology).end_well()
        for topology in ("1x4", "2x2")
    ]
    assert_same_run(groups[1].workdir, groups[0].workdir, file=files.images)


@pytest.mark.slow
def test_a_run_moves_between_devices_and_processes(tmp_path, files, tagging):
    """From 8 devices to 1, to 2 processes of 2, where its newest checkpoint is damaged, to 4."""
    workdir = tmp_path / "run"
    flags = [f"--config={files.tagging}"]
    for topology, number, at in (("1x8", 0, 4), ("1x1", 0, 8), ("2x2", 1, 13)):
        if topology == "2x2":
            damage(newest(workdir))
        group = Group(topology, *flags, workdir=workdir, pace=0.2)
        group.interrupt(number, signal.SIGTERM, at=at)
        assert group.wait() == [75] * len(group.processes), group.texts()
        says = [line for text in group.texts() for line in text.splitlines() if "stopped" in line]
        step = int(newest(workdir).name)
        assert at <= step < NUM_STEPS
        assert [f"stopped at step {step}, saved" in line for line in says] == [True] * len(says)
        assert len(says) == len(group.processes)
        if topology == "2x2":
            assert all("is damaged" in text for text in group.texts())
    Group("1x4", *flags, workdir=workdir).end_well()
    assert_same_run(workdir, tagging.workdir, file=files.tagging)


def newest(workdir):
    folder = workdir / "checkpoints"
    return folder / str(max(int(path.name) for path in folder.iterdir() if path.name.isdecimal()))


def damage(checkpoint):
    files = [path for path in (checkpoint / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


@pytest.mark.parametrize(
    ("topology", "killed", "restart"),
    [("2x2", 0, "1x4"), pytest.param("4x1", 1, "4x1", marks=pytest.mark.slow)],
)
def test_where_a_process_is_killed_the_others_name_it_and_a_restart_goes_on(
    tmp_path, files, tagging, topology, killed, restart
):
    workdir = tmp_path / "run"
    group = Group(topology, f"--config={files.tagging}", workdir=workdir, pace=0.2)
    group.interrupt(killed, signal.SIGKILL, at=9)
    begun = time.monotonic()
    codes = group.wait()
    assert codes.pop(killed) == -signal.SIGKILL
    assert set(codes) == {76}, group.texts()
    assert time.monotonic() - begun < 90, "after 10 s of silence"
    texts, pid = group.texts(), group.processes[killed].pid
    del texts[killed]
    lines = [x for text in texts for x in text.splitlines() if "not been heard from for" in x]
    assert lines
    for line in lines:  # of the others some may hear of it from one that has noticed
        assert line.startswith(f"process {killed} (host ") and f"pid {pid})" in line
        # It said where it was every few seconds, which may be before its first of these few.
        assert re.search(r"it was (at step \d+|before its first step), this one is at step", line)
        assert line.endswith("ending, so that a restart resumes")
    assert not any("Traceback" in text for text in texts)
    other = Group(restart, f"--config={files.tagging}", workdir=workdir).end_well()
    assert "resuming at step" in other.texts()[0]
    assert_same_run(workdir, tagging.workdir, file=files.tagging)


SENTENCES = "".join(f"Word{i} NN O O\nParis NN O B-LOC\n\n" for i in range(40))


@pytest.fixture
def hosts(tmp_path):
    """Two folders, as of two hosts, with the same data at the same place."""
    for host in ("one", "two"):
        for split in ("train", "dev", "test"):
            path = tmp_path / host / "data" / f"{split}.conll"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(SENTENCES)
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture
def by_file(tmp_path):
    paths = {x: f"data/{x}.conll" for x in ("train", "dev", "test")}
    data = f'    config.data = {{"source": "conll"}} | {paths}\n'
    lines = (TAGGING + COMMON).splitlines(keepends=True)
    path = tmp_path / "by_file.py"
    path.write_text("".join(data if "config.data" in line else line for line in lines))
    return [f"--config={path}"]


def started(tmp_path, hosts, flags):
    group = Group("2x1", *flags, workdir=tmp_path / "run", folders=hosts)
    return group.wait(), group.texts()


def test_a_process_with_bad_data_ends_the_others_and_is_named(tmp_path, hosts, by_file):
    bad = hosts[1] / "data" / "train.conll"
    bad.write_text(SENTENCES.replace("B-LOC", "LOC extra", 1))
    begun = time.monotonic()
    codes, texts = started(tmp_path, hosts, by_file)
    assert time.monotonic() - begun < 100, "not the timeouts of JAX"
    assert codes == [2, 2], texts
    assert "error: data/train.conll:2:" in texts[1]
    assert "process 1 (host " in texts[0] and "ended with an error: data/train.conll:2:" in texts[0]


def test_processes_with_other_data_are_refused_and_named(tmp_path, hosts, by_file):
    (hosts[1] / "data" / "train.conll").write_text(SENTENCES + "More NN O O\n\n")
    codes, texts = started(tmp_path, hosts, by_file)
    assert codes == [2, 2], texts
    for text in texts:
        assert "process 1 differs from process 0 in the content of train" in text


def test_a_loss_that_is_not_finite_ends_all_processes_with_the_same_code(tmp_path, files):
    flags = [f"--config={files.tagging}", "--config.optim.learning_rate=1e38"]
    group = Group("2x1", *flags, workdir=tmp_path / "run")
    assert group.wait() == [3, 3], group.texts()
    assert all("not finite" in text for text in group.texts())
