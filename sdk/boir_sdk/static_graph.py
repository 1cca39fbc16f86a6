"""A bundle's graph, read and made ready for pictures of one shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from boir_sdk.errors import InferenceError
from boir_sdk.quiet_openvino import ov


def read(core: ov.Core, path: Path) -> ov.Model:
    """Read a graph.

    Raises:
        InferenceError: OpenVINO can't.
    """
    try:
        return core.read_model(path)
    except (RuntimeError, UnicodeDecodeError) as error:  # the second when its own message isn't text
        raise InferenceError(f"OpenVINO {ov.__version__} can't read {path}: {error}") from error


def reshape(model: ov.Model, shapes: Mapping[str, list[int]]) -> None:
    """Give the inputs, by name, these shapes, in place.

    Raises:
        InferenceError: they don't fit the graph.
    """
    try:
        model.reshape(dict(shapes))
    except RuntimeError as error:
        wanted = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InferenceError(f"a graph of this bundle can't take {wanted}: {error}") from error


def drop_idle_means(model: ov.Model) -> None:
    """Take out means over an axis that a static shape gave length 1 (the views): OpenVINO would compute them."""
    for operation in model.get_ops():
        if operation.get_type_name() != "ReduceMean":
            continue
        before, after = operation.get_input_partial_shape(0), operation.get_output_partial_shape(0)
        if before.is_static and after.is_static and math.prod(before.to_shape()) == math.prod(after.to_shape()):
            shape = np.array(list(after.to_shape()), dtype=np.int64)
            same = ov.opset1.reshape(operation.input_value(0), shape, special_zero=False)
            operation.output(0).replace(same.output(0))
