"""Owns the export that onnxruntime runs: one file, parameters in it; and the same with its matrices
in 8 bits."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from bigjax.errors import UserError
from bigjax.export.folder import write_beside
from bigjax.tasks.portable import Portable

INSTALL = "pip install onnxruntime tokenizers, or name a Python that has both with --runtime=PYTHON"
FILE = "model.onnx"


def write(folder: Path, portable: Portable, params: Any) -> Mapping[str, Mapping[str, int]]:
    """Writes the file, of any sizes.

    Raises:
      UserError: what converts it is not installed, or refuses this model.
    """
    with _quiet():
        model = _converted(portable, params)
        (folder / FILE).write_bytes(model.SerializeToString())
    write_beside(folder, portable, params, runtime="onnx_example.py.txt")
    return {}


def quantize(folder: Path) -> None:
    """Puts the matrices of the folder's model into 8 bits, a scale for each of their columns; what
    they are multiplied with is rounded to 8 bits when it is known ("dynamic"). Tables of embeddings
    stay as they are.

    Raises:
      UserError: onnxruntime is not installed.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise UserError(f"--quantize=int8 needs onnxruntime ({error}): {INSTALL}") from None
    with _quiet(), tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        small = Path(beside, FILE)
        quantize_dynamic(
            folder / FILE,
            small,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul"],
        )
        small.replace(folder / FILE)


def _converted(portable: Portable, params: Any) -> Any:
    try:
        import onnx  # noqa: F401
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(
            f"--format=onnx needs jax2onnx and onnx ({error}): run pip install --no-deps --group "
            "onnx (pip 25.1 or newer, in the repository)"
        ) from None
    names = list(portable.inputs)
    shapes = [jax.ShapeDtypeStruct(found.dims, found.dtype) for found in portable.inputs.values()]
    try:
        model = to_onnx(
            lambda *inputs: portable.apply(params, dict(zip(names, inputs))),
            shapes,
            model_name="bigjax",
            input_names=names,
            output_names=["logits"],
        )
    except Exception as error:  # of whatever kind its many converters raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"--format=onnx: jax2onnx cannot convert this model: {reason[0]}"
        ) from error
    for dim, name in zip(model.graph.output[0].type.tensor_type.shape.dim, portable.outputs):
        if isinstance(name, str):
            dim.dim_param = name
    _plain_products(model)
    return model


def _plain_products(model: Any) -> None:
    """x @ w as MatMul, which has a form in 8 bits, where it is Gemm plus 0 times something."""
    from onnx.helper import get_attribute_value

    for node in model.graph.node:
        found = {each.name: get_attribute_value(each) for each in node.attribute}
        if node.op_type == "Gemm" and found == {"alpha": 1.0, "beta": 0.0}:
            node.op_type = "MatMul"
            del node.input[2:], node.attribute[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' words on what they leave out, a line for each shape."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
