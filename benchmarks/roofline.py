"""What BERT token tagging can reach on many chips, on paper: nothing here is measured.

    python benchmarks/roofline.py [--chip=v5e|h100] [--row_length=512] [--rows=1024]
        [--mesh=data=16,fsdp=16 ...] [--remat=none|full] [--layers=24 --hidden=1024 ...]

It prints the tables of docs/scaling.md, which explains them. Products run at the chip's peak,
memory and networks at their nominal speed, and to start a collective costs nothing: expect less.
The least certain number is how often an activation is moved (--traffic). `--mode=check` counts what
XLA makes of the same mesh.

Units: bytes, seconds, FLOPs; GB and TB are powers of ten, as vendors have them.
"""

import argparse
import math
from collections.abc import Callable
from typing import NamedTuple

STATE_BYTES = 12  # of a parameter: itself and Adam's two moments, float32
GRADIENT_BYTES = 4  # float32, in memory and between devices
WEIGHT_BYTES = 2  # bfloat16, as fsdp gathers them
OPTIMIZER_TRAFFIC = 32  # of a parameter: reads and writes state and gradient, and its norm before
FEWEST_MOVES = 2  # of what is kept for the backward pass: written once, read once
USABLE = 0.92  # of a device's memory, as bigjax/memory.py has it


class Model(NamedTuple):
    """A BERT tagger; bigjax/models/bert.py."""

    layers: int = 24
    hidden: int = 1024
    mlp: int = 4096
    heads: int = 16
    vocab: int = 30522
    positions: int = 512
    tags: int = 9


class Mesh(NamedTuple):
    """Devices by axis, as bigjax/sharding.py lays them: those of `tensor` are next to each other,
    then those of `fsdp`."""

    data: int = 1
    fsdp: int = 1
    tensor: int = 1


class Chip(NamedTuple):
    """flops: a second, dense bfloat16. memory: bytes. bandwidth: bytes a second to memory.
    scatter: seconds of a reduce-scatter of bytes (or of an all-gather that ends with them) over
    `size` devices that stand `stride` apart. host: chips of a host.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    scatter: Callable[..., float]
    host: int
    meshes: tuple[Mesh, ...]


def ring_bytes(num_bytes: float, *, size: int) -> float:
    """What a device sends in a ring reduce-scatter of `num_bytes`, or an all-gather that ends with
    them: (n - 1) / n of them. An all-reduce is one after the other: twice that (Patarasuk & Yuan
    2009)."""
    return num_bytes * (size - 1) / size


def over_torus(num_bytes: float, *, size: int, stride: int) -> float:  # noqa: ARG001
    """TPU v5e: a torus of 16 x 16, four links of 50 GB/s each way (1,600 Gb/s a chip). All 256
    chips use both axes, a whole axis is a ring of two links, a part of one a line of one."""
    links = 4 if size == 256 else 2 if size >= 16 else 1
    return ring_bytes(num_bytes, size=size) / (links * 50e9)


def over_nodes(num_bytes: float, *, size: int, stride: int) -> float:
    """DGX H100: eight GPUs of a node by NVLink (900 GB/s, half each way), then between nodes, a
    network adapter of 400 Gb/s for each GPU, what is left: a share of the node's."""
    near = max(1, min(size, 8 // stride))
    inside = ring_bytes(num_bytes, size=near) / 450e9
    return inside + ring_bytes(num_bytes / near, size=size // near) / 50e9


CHIPS = {
    "v5e": Chip(
        "TPU v5e",
        *(197e12, 16e9, 819e9, over_torus, 8),
        (Mesh(256), Mesh(fsdp=256), Mesh(16, 16), Mesh(64, 1, 4)),
    ),
    "h100": Chip(
        "H100 SXM",
        *(989e12, 80e9, 3350e9, over_nodes, 8),
        (Mesh(64), Mesh(fsdp=64), Mesh(8, 8), Mesh(16, 1, 4)),
    ),
}


def layer_weights(model: Model) -> int:
    """Weights of a layer's products: query, key, value and out (D, D), up (D, F), down (F, D)."""
    return 4 * model.hidden**2 + 2 * model.hidden * model.mlp


def num_params(model: Model) -> int:
    """Embeddings, their norm, layers with biases and two norms, head (Devlin et al. 2018)."""
    width = model.hidden
    embeddings = (model.vocab + model.positions + 2) * width + 2 * width
    layer = layer_weights(model) + (4 * width + model.mlp + width) + 2 * 2 * width
    return embeddings + model.layers * layer + (width + 1) * model.tags


def flops_per_token(model: Model, *, row_length: int) -> int:
    """Of an update, without what remat repeats: a weight of a product costs 2 forward and 4
    backward; so does each of the L D multiply-adds of q k and of p v, once for each token."""
    attention = 2 * row_length * model.hidden
    products = model.layers * (layer_weights(model) + attention) + model.hidden * model.tags
    return 6 * products


def kept_per_token(model: Model, *, row_length: int, tensor: int = 1) -> float:
    """Bytes that the layers keep of a token for the backward pass, without remat: what
    differentiation saves in bigjax/models/bert.py with dtype=bfloat16 (inputs of products in two
    bytes, the rest in four, dropout's masks in one)."""
    width = model.hidden
    split = 14 * width + 14 * model.mlp + 18 * model.heads * row_length
    return model.layers * (42 * width + split / tensor)


def activations(model: Model, *, tokens: float, row_length: int, tensor: int, remat: str) -> float:
    """Bytes kept on a device for its tokens. Full remat keeps each layer's float32 input, and while
    a layer is repeated what that layer keeps."""
    kept = tokens * kept_per_token(model, row_length=row_length, tensor=tensor)
    if remat == "none":
        return kept
    return tokens * model.layers * 4 * model.hidden + kept / model.layers


class Update(NamedTuple):
    """Seconds of an update on a device, and what it comes to.

    products: at peak. memory: everything else between them, by the bandwidth to memory.
    optimizer: by the bandwidth to memory. exposed: of fsdp's gathers and the gradients' reduction,
    what forward and backward pass do not hide. tensor: the tensor axis's all-reduces, which nothing
    hides. mfu: the share of the peak that the model's FLOPs make.
    """

    products: float
    memory: float
    optimizer: float
    exposed: float
    tensor: float
    mfu: float

    @property
    def seconds(self) -> float:
        return self.products + self.memory + self.optimizer + self.exposed + self.tensor


class Traffic(NamedTuple):
    """Seconds between devices. gather: fsdp's all-gather of bfloat16 weights, once forward and once
    backward. reduce: the float32 gradient, reduce-scattered over fsdp, all-reduced over data.
    tensor: of one token, four all-reduces a layer of its float32 activations."""

    gather: float
    reduce: float
    tensor: float


def traffic(model: Model, mesh: Mesh, *, chip: Chip) -> Traffic:
    params = num_params(model) / mesh.tensor
    over_fsdp = {"size": mesh.fsdp, "stride": mesh.tensor}
    over_data = {"size": mesh.data, "stride": mesh.tensor * mesh.fsdp}
    share = GRADIENT_BYTES * params / mesh.fsdp
    reduce = chip.scatter(GRADIENT_BYTES * params, **over_fsdp) + 2 * chip.scatter(
        share, **over_data
    )
    token = 4 * model.layers * 2 * chip.scatter(4 * model.hidden, size=mesh.tensor, stride=1)
    return Traffic(chip.scatter(WEIGHT_BYTES * params, **over_fsdp), reduce, token)


def update(
    model: Model,
    mesh: Mesh,
    *,
    chip: Chip,
    tokens: float,
    row_length: int,
    remat: str,
    times_moved: float,
) -> Update:
    """An update: products and the traffic to memory between them take turns, collectives run
    beside them.

    Args:
      tokens: of a device's rows.
      times_moved: how often a byte that is kept without remat goes to or from memory in an update.
    """
    passes = 4 if remat == "full" else 3  # in forward passes; backward is two
    flops = flops_per_token(model, row_length=row_length) * tokens / mesh.tensor
    products = flops / chip.flops * passes / 3
    kept = kept_per_token(model, row_length=row_length, tensor=mesh.tensor)
    moved = times_moved * tokens * kept / chip.bandwidth * passes / 3
    optimizer = OPTIMIZER_TRAFFIC * num_params(model) / (mesh.fsdp * mesh.tensor) / chip.bandwidth
    between = traffic(model, mesh, chip=chip)
    forward = (products + moved) / passes
    backward = products + moved - forward
    exposed = max(0, between.gather - forward) + max(0, between.gather + between.reduce - backward)
    parts = (products, moved, optimizer, exposed, between.tensor * tokens)
    return Update(*parts, mfu=flops / chip.flops / sum(parts))


def least_tokens(model: Model, mesh: Mesh, *, chip: Chip, row_length: int) -> float:
    """Tokens a device below which collectives take longer than the products beside them, at peak:
    gathers beside the forward pass, gathers and the gradient's reduction beside the backward."""
    token = flops_per_token(model, row_length=row_length) / mesh.tensor / chip.flops
    between = traffic(model, mesh, chip=chip)
    return max(between.gather / (token / 3), (between.gather + between.reduce) / (token * 2 / 3))


def state(model: Model, mesh: Mesh) -> float:
    """Bytes of parameters, optimizer and gradients on a device."""
    return (STATE_BYTES + GRADIENT_BYTES) * num_params(model) / (mesh.fsdp * mesh.tensor)


def row_bytes(row_length: int) -> int:
    """Of a row of the batch: tokens, segments, positions and labels int32, mask a byte, and two
    int32 of the row."""
    return row_length * (4 * 4 + 1) + 8


def named(mesh: Mesh) -> str:
    return ",".join(f"{axis}={n}" for axis, n in mesh._asdict().items() if n > 1) or "data=1"


def parse_mesh(text: str) -> Mesh:
    return Mesh(**{axis: int(n) for axis, n in (part.split("=") for part in text.split(","))})


def main() -> None:
    flags = _parser().parse_args()
    model = Model(**{name: getattr(flags, name) for name in Model._fields})
    chip = CHIPS[flags.chip]
    meshes = flags.mesh or chip.meshes
    per_token = flops_per_token(model, row_length=flags.row_length)
    print(f"{chip.name}; {num_params(model):,} parameters, {per_token / 1e9:.2f} GFLOP a token")
    tokens = flags.rows * flags.row_length
    print(f"an update: {flags.rows:,} rows of {flags.row_length}, {tokens:,} tokens\n")
    titles = "mesh", "tokens", "least", "state, GB", "kept, GB", "kept with remat, GB", "fits"
    _table(titles, [_memory_row(model, mesh, chip, flags) for mesh in meshes])
    titles = "ms", "products", "memory", "optimizer", "exposed", "tensor", "in all", "MFU"
    titles += f"MFU at {FEWEST_MOVES}", "tokens/s", "MB/s a host"
    _table(titles, [_time_row(model, mesh, chip, flags) for mesh in meshes])
    size = STATE_BYTES * num_params(model)
    seconds = size / flags.storage / 1e9
    print(f"a checkpoint: {size / 1e9:.2f} GB, {seconds:.1f} s at {flags.storage:g} GB/s")


def _tokens(mesh: Mesh, flags: argparse.Namespace) -> int:
    """Of a device's rows, empty ones included; all devices of a tensor group have the same rows."""
    return math.ceil(flags.rows / (mesh.data * mesh.fsdp)) * flags.row_length


def _memory_row(model: Model, mesh: Mesh, chip: Chip, flags: argparse.Namespace) -> list[str]:
    tokens = _tokens(mesh, flags)
    shape = {"tokens": tokens, "row_length": flags.row_length, "tensor": mesh.tensor}
    kept = {remat: activations(model, remat=remat, **shape) for remat in ("none", "full")}
    least = least_tokens(model, mesh, chip=chip, row_length=flags.row_length)
    sizes = [f"{x / 1e9:.2f}" for x in (state(model, mesh), *kept.values())]
    fits = state(model, mesh) + kept[flags.remat] <= USABLE * chip.memory
    return [named(mesh), f"{tokens:,}", f"{least:,.0f}", *sizes, "yes" if fits else "no"]


def _time_row(model: Model, mesh: Mesh, chip: Chip, flags: argparse.Namespace) -> list[str]:
    shape = {"tokens": _tokens(mesh, flags), "row_length": flags.row_length, "remat": flags.remat}
    found = update(model, mesh, chip=chip, times_moved=flags.traffic, **shape)
    best = update(model, mesh, chip=chip, times_moved=FEWEST_MOVES, **shape)
    parts = [f"{1e3 * x:.1f}" for x in (*found[:5], found.seconds)]
    rows = flags.rows / found.seconds
    feed = rows * row_bytes(flags.row_length) / (math.prod(mesh) / chip.host)
    rates = f"{rows * flags.row_length / 1e6:.1f}M", f"{feed / 1e6:.1f}"
    return [named(mesh), *parts, f"{found.mfu:.0%}", f"{best.mfu:.0%}", *rates]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chip", choices=CHIPS, default="v5e")
    parser.add_argument("--mesh", type=parse_mesh, action="append", help="may be given again")
    parser.add_argument("--rows", type=int, default=1024, help="of an update, over all devices")
    parser.add_argument("--row_length", type=int, default=512)
    parser.add_argument("--remat", choices=["none", "full"], default="none")
    parser.add_argument(
        "--traffic",
        type=float,
        default=4.0,
        help="how often a byte kept without remat is moved: written, read by the next operation "
        "and by the backward pass, and a gradient of its size; XLA's plan for a CPU has about 6",
    )
    parser.add_argument("--storage", type=float, default=1.0, help="GB/s, of all writers together")
    for name, default in Model()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser


def _table(titles: tuple[str, ...], rows: list[list[str]]) -> None:
    for row in (titles, ("---",) * len(titles), *rows):
        print("| " + " | ".join(row) + " |")
    print()


if __name__ == "__main__":
    main()
