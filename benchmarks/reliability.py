"""Kills runs of several tasks again and again, and compares what is left with runs that never were.

    python benchmarks/reliability.py [--kills=100] [--folder=FOLDER]

Each gets as many kills (SIGKILL): token tagging (packed rows, dropout, accumulation), image
classification (batch statistics, augmentation, mixup, EMA), masked-language modelling (tokens
hidden anew in each epoch), text classification (words hidden and swapped), at random moments: in a
step, in a save, while starting. It is `main.py --mode=verify_resume` on small configs; the table
counts the kills and those during a save, and says whether everything ended bitwise the same. A kill
costs one start of the program, so 100 take a quarter of an hour on two cores.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TAGGING = {
    "text.vocab_size": 1000,
    "text.row_length": 32,
    "model.num_layers": 2,
    "model.hidden_size": 64,
    "model.num_heads": 2,
    "model.mlp_size": 128,
    "data.num_train": 600,
    "data.num_dev": 40,
    "data.num_test": 30,
    "batch.examples": 20,
    "batch.accumulate": 2,
    "eval.every_epochs": "none",
    "eval.every_steps": 20,
}
IMAGES = {
    "augment.flip": True,
    "augment.cutout": 2,
    "augment.mixup_alpha": 0.2,
    "ema_decay": 0.99,
    "eval.every_epochs": "none",
    "eval.every_steps": 20,
}
MASKED = {
    **{
        key: value
        for key, value in TAGGING.items()
        if key not in ("data.num_test", "batch.examples")
    },
    "batch.rows": 10,
    "hide.whole_words": True,
}
TEXTS = {
    **TAGGING,
    "data.num_train": 300,
    "loss.label_smoothing": 0.1,
    "augment.word_dropout": 0.1,
    "augment.word_swaps": 0.1,
}
CONFIGS = {
    "token tagging": ("configs/bert_ner.py:scratch", TAGGING),
    "image classification": ("configs/cnn_digits.py:residual", IMAGES),
    "masked language": ("configs/bert_mlm.py:scratch", MASKED),
    "text classification": ("configs/bert_classify.py:scratch", TEXTS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--folder", help="of the runs; default: a temporary one")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(flags.folder or temporary)
        rows = []
        for task, (config, overrides) in CONFIGS.items():
            kills = flags.kills // len(CONFIGS)
            command = [sys.executable, "main.py", "--mode=verify_resume", f"--config={config}"]
            command += [f"--workdir={folder / task.split()[0]}"]
            command += [f"--config.{key}={value}" for key, value in overrides.items()]
            command += [f"--config.verify.num_kills={kills}"]
            command += [f"--config.verify.num_steps={max(40, 6 * kills)}"]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            output = ""
            for line in process.stdout:
                print(line, end="", flush=True)
                output += line
            found = re.search(r"(\d+) kills, (\d+) of them during a save", output)
            same = process.wait() == 0 and "BITWISE THE SAME" in output
            counts = found.groups() if found else ("0", "0")
            rows.append((task, *counts, "bitwise" if same else "NOT THE SAME"))
    print(f"\n{'task':<22}{'kills':>7}{'in a save':>11}  same as uninterrupted")
    for task, kills, saves, same in rows:
        print(f"{task:<22}{kills:>7}{saves:>11}  {same}")
    sys.exit(any(row[-1] != "bitwise" for row in rows))


if __name__ == "__main__":
    main()
