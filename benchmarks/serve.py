"""How many requests a minute the service answers, and how fast, beside the same model behind
transformers' pipeline in the same framework.

    python benchmarks/serve.py --workdir=runs/ner --seconds=60 --clients=64
    python benchmarks/serve.py --folder=ner_hf --python=/path/with/torch/bin/python

Each client asks for one text after the other over a connection of its own on loopback. The texts
are of 3 to 40 words, the same for both. Prints answers a second, latency at 50, 95 and 99 percent,
CPU time an answer, statuses, and the memory of the service at the beginning and the end. What it
measured is in docs/performance.md.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORDS = [
    "Angela", "Merkel", "met", "the", "president", "of", "France", "in", "Berlin", "on", "Monday",
    "and", "said", "that", "Siemens", "would", "build", "a", "plant", "near", "Munich", "while",
    "Microsoft", "opened", "offices", "Dublin", ",", "Ireland", ".",
]  # fmt: skip

# The other side: its own pipeline, one text a call, in threads of the same framework.
PIPELINE = """
import sys, torch, uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
from transformers import pipeline
tag = pipeline("token-classification", model=sys.argv[1], aggregation_strategy="first")
def answer(text):
    with torch.inference_mode():
        return [{**found, "score": float(found["score"])} for found in tag(text)]
async def predict(request):
    given = await request.json()
    found = await run_in_threadpool(answer, given["text"])
    return JSONResponse({"answers": [{k: str(v) for k, v in one.items()} for one in found]})
async def ready(request):
    return JSONResponse({"ready": True})
app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/readyz", ready)])
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", help="a run of token tagging")
    parser.add_argument("--dtype", default="float32", help="what the run's layers compute in")
    parser.add_argument("--folder", help="its export, for transformers' pipeline")
    parser.add_argument("--python", default=sys.executable, help="that has torch and transformers")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    if given.workdir:
        main_py = [sys.executable, str(ROOT / "main.py"), "--mode=serve"]
        main_py += [f"--config.model.dtype={given.dtype}"]
        measure("bigjax", [*main_py, f"--workdir={given.workdir}", f"--port={given.port}"], given)
    if given.folder:
        measure("pipeline", [given.python, "-c", PIPELINE, given.folder, str(given.port)], given)


def measure(name: str, command: list[str], given: argparse.Namespace) -> None:
    service = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        asyncio.run(wait_until_ready(given.port, service))
        asyncio.run(load(given, seconds=min(5, given.seconds)))  # until all is warm
        before, cpu = memory(service.pid), cpu_seconds(service.pid)
        seconds, statuses = asyncio.run(load(given, seconds=given.seconds))
        after, cpu = memory(service.pid), cpu_seconds(service.pid) - cpu
    finally:
        service.terminate()
        service.wait(60)
    at = lambda share: 1000 * seconds[min(len(seconds) - 1, int(share * len(seconds)))]  # noqa: E731
    print(
        f"{name}: {given.clients} clients, {len(seconds) / given.seconds:.1f} answers/s, "
        f"p50 {at(0.5):.0f} ms, p95 {at(0.95):.0f} ms, p99 {at(0.99):.0f} ms, "
        f"{1000 * cpu / len(seconds):.1f} ms of CPU an answer, statuses {dict(statuses)}, "
        f"memory {before:.0f} to {after:.0f} MiB",
        flush=True,
    )


async def wait_until_ready(port: int, service: subprocess.Popen) -> None:
    while True:
        assert service.poll() is None, "the service ended"
        try:
            if (await request(*await asyncio.open_connection("127.0.0.1", port), get("/readyz")))[
                0
            ] == 200:
                return
        except OSError:
            pass
        await asyncio.sleep(0.5)


async def load(
    given: argparse.Namespace, *, seconds: float
) -> tuple[list[float], collections.Counter]:
    """The seconds of each answer, sorted, and how often each status came."""
    found: list[float] = []
    statuses: collections.Counter = collections.Counter()
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        draw = random.Random(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", given.port)
        while time.monotonic() < end:
            words = draw.choices(WORDS, k=draw.randint(3, 40))
            begin = time.monotonic()
            status, _ = await request(reader, writer, post("/predict", {"text": " ".join(words)}))
            found.append(time.monotonic() - begin)
            statuses[status] += 1
        writer.close()

    await asyncio.gather(*map(client, range(given.clients)))
    return sorted(found), statuses


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def post(path: str, value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def request(reader, writer, sent: bytes) -> tuple[int, bytes]:  # noqa: ANN001
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if b"content-length" in line
    )
    return int(head.split()[1]), await reader.readexactly(length)


def memory(pid: int) -> float:
    """MiB that the process holds."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def cpu_seconds(pid: int) -> float:
    """Those that the process has taken, which other programs of a busy machine change little."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
