"""Owns a residual network of ours as transformers names it: the one table of names, its config, and
why a network is none of theirs."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from bigjax.errors import UserError
from bigjax.models import cnn
from bigjax.trees import leaf_names

ARCHITECTURE = "ResNetForImageClassification"
# Of a layer's parts and a normalisation's leaves. `i`, `j`, `k`: stage, block, layer of it.
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_STEM = {
    "stem": "resnet.embedder.embedder.convolution",
    "stem_norm": "resnet.embedder.embedder.normalization",
    "head": "classifier.1",
}
_BLOCK = "resnet.encoder.stages.{i}.layers.{j}."
_PARTS = {"conv": "layer.{k}.convolution", "norm": "layer.{k}.normalization"}
_SHORTCUT = {"shortcut": "shortcut.convolution", "shortcut_norm": "shortcut.normalization"}


def config_of(network: nn.Module, *, channels: int) -> dict[str, Any]:
    """What `config.json` states of the network, without its classes.

    Raises:
      UserError: it is no network that transformers has; says which are.
    """
    if not isinstance(network, cnn.ResNet) or network.stem != "imagenet":
        what = (
            "a ResNet for small images (model.stem='cifar')"
            if isinstance(network, cnn.ResNet)
            else f"this network ({type(network).__name__})"
        )
        raise UserError(
            f"--format=huggingface: transformers has no class for {what}; it has one for resnet18, "
            "resnet34 and resnet50 with model.stem='imagenet'; take --format=onnx or stablehlo"
        )
    bottleneck = network.block is cnn.Bottleneck
    widths = [64 * 2**i * (4 if bottleneck else 1) for i in range(len(network.stages))]
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "resnet",
        "num_channels": channels,
        "embedding_size": 64,
        "hidden_sizes": widths,
        "depths": list(network.stages),
        "layer_type": "bottleneck" if bottleneck else "basic",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    }


def arrays_of(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The network's params and batch_stats under their names and as they lie there."""
    found = {}
    for collection in ("params", "batch_stats"):
        tree = variables[collection]
        for ours, array in zip(leaf_names(tree), jax.tree.leaves(tree)):
            found[their_name(ours)] = _as_theirs(np.asarray(array, np.float32))
            if ours.endswith("/var"):  # which PyTorch counts and evaluation does not read
                counted = their_name(ours).replace("running_var", "num_batches_tracked")
                found[counted] = np.zeros((), np.int64)
    return found


def their_name(ours: str) -> str:
    """`stage_0_block_1/conv_0/kernel` as `resnet.encoder.stages.0.layers.1.layer.0...weight`"""
    *modules, leaf = ours.split("/")
    if len(modules) == 1:
        return f"{_STEM[modules[0]]}.{_LEAVES[leaf]}"
    block, module = modules
    _, i, _, j = block.split("_")
    kind, _, k = module.rpartition("_")
    part = _SHORTCUT.get(module) or _PARTS[kind].format(k=k)
    return f"{_BLOCK.format(i=i, j=j)}{part}.{_LEAVES[leaf]}"


def _as_theirs(array: np.ndarray) -> np.ndarray:
    order = {2: (1, 0), 4: (3, 2, 0, 1)}.get(array.ndim)
    return np.ascontiguousarray(array if order is None else array.transpose(order))
