"""Owns the two PyTorch training loops that bigjax is timed beside, and a worker that runs them.

What is compared and how the runs are interleaved belongs to the script that starts the worker; the
reference scores of a whole fine-tuning belong to `wikiann_transformers.py`. Needs torch and
transformers, which bigjax itself never does; runs on the CPU with every core it may use.

    python pytorch_loops.py --loop dynamic --data rows.npz --model_dir model --out times.jsonl

`rows.npz` holds tokenised sentences: `tokens` (int32, all sentences joined, [CLS] and [SEP]
included), `labels` (int32, -100 where there is none), `offsets` (int64, num_sentences + 1: sentence
i is tokens[offsets[i]:offsets[i + 1]]), `order` (the sentences in the order of training) and, for
`dynamic`, `batch_sizes` (how many of them each update takes; 32 where absent). Both start over at
the end of the order.

The worker builds the model, runs the warm-up updates, appends the line {"ready": ...} to `--out`
and then obeys standard input: "go N" runs N more updates ("go" alone: `--timed_updates`) and
appends {"seconds", "sentences", "tokens", "losses"}, tokens counted without padding; "stop" or the
end of the input ends it. A line is whole once its newline is there.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers

LEARNING_RATE = 5e-5
WEIGHT_DECAY = 0.01
LR_WARMUP_SHARE = 0.1
MAX_NORM = 1.0
NO_LABEL = -100
TUTORIAL_LENGTH = 128
TUTORIAL_BATCH = 16
DYNAMIC_BATCH = 32


class Rows(NamedTuple):
    """Tokenised sentences, joined: sentence i is [offsets[i], offsets[i + 1]).

    tokens: int32, sub-word ids with [CLS] and [SEP].
    labels: int32, one for each token, -100 where there is none.
    offsets: int64, num_sentences + 1.
    """

    tokens: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray


class Update(NamedTuple):
    """What one update did: its loss (a scalar tensor, detached) and how much it saw."""

    loss: torch.Tensor
    num_sentences: int
    num_tokens: int


def tutorial(
    rows: Rows, *, order: np.ndarray, model_dir: str, seed: int, dtype: torch.dtype
) -> Iterator[Update]:
    """The widespread tutorial loop: every sentence padded to 128, batches of 16, plain AdamW.

    The model is built before this returns; each `next` is one update.
    """
    model = build(model_dir, rows=rows, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    starts = range(0, len(order), TUTORIAL_BATCH)
    batches = [order[start : start + TUTORIAL_BATCH] for start in starts]

    def updates() -> Iterator[Update]:
        for batch in itertools.cycle(batches):
            inputs = pad(rows, take=batch, length=TUTORIAL_LENGTH)
            with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                loss = model(**inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            optimizer.zero_grad()
            yield Update(loss.detach(), len(batch), int(inputs["attention_mask"].sum()))

    return updates()


def dynamic(
    rows: Rows,
    *,
    order: np.ndarray,
    batch_sizes: Sequence[int],
    model_dir: str,
    num_updates: int,
    seed: int,
    dtype: torch.dtype,
) -> Iterator[Update]:
    """The careful loop: each batch padded to its longest sentence, AdamW with weight decay groups,
    a linear schedule over `num_updates` with 10% warm-up.

    The model is built before this returns; each `next` is one update.
    """
    model = build(model_dir, rows=rows, seed=seed)
    optimizer, schedule = adamw(model, learning_rate=LEARNING_RATE, num_updates=num_updates)
    batches = np.split(order, np.cumsum(batch_sizes)[:-1])

    def updates() -> Iterator[Update]:
        for batch in itertools.cycle(batches):
            inputs = pad(rows, take=batch)
            with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                loss = model(**inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            yield Update(loss.detach(), len(batch), int(inputs["attention_mask"].sum()))

    return updates()


def build(model_dir: str, *, rows: Rows, seed: int) -> torch.nn.Module:
    """The pretrained encoder with a fresh tagging head, float32, in training mode (dropout as in
    config.json)."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        model_dir, num_labels=int(rows.labels.max()) + 1, dtype=torch.float32
    )
    return model.train()


def adamw(
    model: torch.nn.Module, *, learning_rate: float, num_updates: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW without weight decay on biases and LayerNorm, and a linear decay with 10% warm-up."""
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        spared = name.endswith("bias") or "LayerNorm" in name
        (plain if spared else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True
    )
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer,
        num_warmup_steps=round(LR_WARMUP_SHARE * num_updates),
        num_training_steps=num_updates,
    )
    return optimizer, schedule


def pad(rows: Rows, *, take: np.ndarray, length: int | None = None) -> dict[str, torch.Tensor]:
    """The sentences `take` as the model's keyword arguments, int64 of shape [B, L].

    L is `length`, or where there is none the longest sentence. A sentence that is too long is cut
    as a tokenizer cuts it: its last token ([SEP]) stays last. Padding has id 0, as in BERT.
    """
    first, end = rows.offsets[take], rows.offsets[take + 1]
    length = length or int((end - first).max())
    position = np.arange(length)
    index_BL = np.minimum(first[:, None] + position, end[:, None] - 1)
    index_BL[:, -1] = end - 1
    mask_BL = position < (end - first)[:, None]
    arrays = {
        "input_ids": np.where(mask_BL, rows.tokens[index_BL], 0),
        "attention_mask": mask_BL,
        "labels": np.where(mask_BL, rows.labels[index_BL], NO_LABEL),
    }
    return {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}


def timed(updates: Iterator[Update], *, num_updates: int) -> dict:
    """Runs `num_updates` further updates; the JSON line that the worker writes for them."""
    start = time.perf_counter()
    done = list(itertools.islice(updates, num_updates))
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "sentences": sum(update.num_sentences for update in done),
        "tokens": sum(update.num_tokens for update in done),
        "losses": [update.loss.item() for update in done],
    }


def main() -> None:
    flags = _flags()
    torch.set_flush_denormal(True)  # moments of unused embeddings fade to denormals: far slower
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    updates = _updates(flags)
    ready = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    _append(flags.out, {"ready": ready | timed(updates, num_updates=flags.warmup_updates)})
    for line in sys.stdin:
        match line.split():
            case ["go"]:
                _append(flags.out, timed(updates, num_updates=flags.timed_updates))
            case ["go", count] if count.isdecimal():
                _append(flags.out, timed(updates, num_updates=int(count)))
            case ["stop"]:
                return
            case _:
                sys.exit(f"unknown command {line!r}; expected 'go', 'go N' or 'stop'")


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs a PyTorch training loop on command.")
    parser.add_argument("--loop", choices=["tutorial", "dynamic"], required=True)
    parser.add_argument("--data", type=Path, required=True, help="the .npz of tokenised sentences")
    parser.add_argument("--model_dir", required=True, help="a Hugging Face BERT folder")
    parser.add_argument("--out", type=Path, required=True, help="the JSON lines to append to")
    parser.add_argument("--warmup_updates", type=int, default=5, help="run before 'ready'")
    parser.add_argument("--timed_updates", type=int, default=50, help="the N of a bare 'go'")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _updates(flags: argparse.Namespace) -> Iterator[Update]:
    with np.load(flags.data) as data:
        rows = Rows(tokens=data["tokens"], labels=data["labels"], offsets=data["offsets"])
        order = data["order"]
        default = np.diff([*range(0, len(order), DYNAMIC_BATCH), len(order)])
        batch_sizes = data.get("batch_sizes", default)
    if batch_sizes.sum() != len(order):
        raise ValueError(f"batch_sizes sum to {batch_sizes.sum()}; expected {len(order)}, as order")
    settings = {
        "order": order,
        "model_dir": flags.model_dir,
        "seed": flags.seed,
        "dtype": getattr(torch, flags.dtype),
    }
    if flags.loop == "tutorial":
        return tutorial(rows, **settings)
    num_updates = flags.warmup_updates + flags.timed_updates
    return dynamic(rows, batch_sizes=batch_sizes, num_updates=num_updates, **settings)


def _append(path: Path, record: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
