"""Kills a search and shares one between processes, and compares it with one that was left alone.

    python benchmarks/search.py [--trials=20] [--kills=2] [--folder=FOLDER]

The search is configs/cnn_digits.py:search on 450 training images, three times: straight through;
killed (SIGKILL) at random moments and started again, which has to end with the same trials, the
same scores and the same best; and by two processes at once, of which one is killed, where no trial
may be lost or trained by both.
"""

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"num_epochs": 6, "data.num_test": 1197}
SEARCH = ("--mode=search", "--config=configs/cnn_digits.py:search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--folder", help="of the searches; default: a temporary one")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(flags.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        straight = folder / "straight" / "search"
        begun = time.monotonic()
        finish(start(straight, flags.trials))
        seconds = time.monotonic() - begun
        expected = trials_of(straight)
        print(f"straight through: {told(expected)}, {seconds:.0f} s", flush=True)
        killed = folder / "killed" / "search"
        draw = random.Random(0)
        for number in range(flags.kills):
            # Where there was something to kill: each time a share of what is left.
            target = len(trials_of(killed)) + draw.randint(2, max(2, flags.trials // 2 - 1))
            kill(start(killed, flags.trials), when=draw.random() * 2, trials=target, of=killed)
            print(f"kill {number + 1}: with {told(trials_of(killed))}", flush=True)
        finish(start(killed, flags.trials))
        found = trials_of(killed)
        same = [found == expected, best_of(killed) == best_of(straight)]
        print(f"killed {flags.kills} times: {told(found)}; the same trials and best: {same}")
        shared = folder / "shared" / "search"
        first, second = start(shared, flags.trials), start(shared, flags.trials)
        kill(second, when=1.0, trials=flags.trials // 3, of=shared)
        second = start(shared, flags.trials)
        for process in (first, second):
            finish(process)
        found = trials_of(shared)
        print(f"two processes, of which one was killed: {told(found)}; {overlaps(shared)}")
        assert all(same) and len(found) == flags.trials


def start(workdir: Path, num_trials: int) -> subprocess.Popen:
    workdir.mkdir(parents=True, exist_ok=True)
    overrides = SMALL | {"search.num_trials": num_trials}
    command = [sys.executable, "main.py", *SEARCH, f"--workdir={workdir}"]
    command += [f"--config.{key}={value}" for key, value in overrides.items()]
    number = len(list(workdir.glob("output-*")))
    with open(workdir / f"output-{number}.txt", "w") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen) -> None:
    code = process.wait()
    assert code == 0, f"exit code {code}; see the output in the folder of the search"


def kill(process: subprocess.Popen, *, when: float, trials: int, of: Path) -> None:
    """Some seconds after there are so many trials."""
    while process.poll() is None and len(trials_of(of)) < trials:
        time.sleep(0.05)
    time.sleep(when)
    process.send_signal(signal.SIGKILL)
    process.wait()


def trials_of(workdir: Path) -> list[tuple]:
    """Number, state, settings, score and all that was reported, as the study holds them."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = workdir / "study.log"
    if not path.exists():
        return []
    storage = JournalStorage(JournalFileBackend(str(path)))
    if not storage.get_all_studies():
        return []
    study = optuna.load_study(study_name="search", storage=storage)
    return [
        (t.number, t.state.name, t.params, t.value, t.intermediate_values) for t in study.trials
    ]


def best_of(workdir: Path) -> str:
    return (workdir / "best.py").read_text()


def told(trials: list[tuple]) -> str:
    states = [state for _, state, *_ in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    best = max((value for *_, value, _ in trials if value is not None), default=None)
    return f"{len(trials)} trials ({counts}; best {best})"


def overlaps(workdir: Path) -> str:
    """Who trained what: how many trials each process ended, and those that two did."""
    ended = {}
    for path in sorted(workdir.glob("output-*")):
        lines = re.findall(
            r"^trial (\d+): (?:trained|ended|failed)", path.read_text(), re.MULTILINE
        )
        ended[path.stem] = set(map(int, lines))
    every = [number for numbers in ended.values() for number in numbers]
    twice = sorted(number for number in set(every) if every.count(number) > 1)
    counts = json.dumps({name: len(numbers) for name, numbers in ended.items()})
    return f"ended by each: {counts}, by two: {twice}"


if __name__ == "__main__":
    main()
