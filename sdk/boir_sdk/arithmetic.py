"""How many multiply-adds a graph takes, and how many of them a device really does in eight bits.

Nothing is imported from OpenVINO here: the graphs come from `boir_sdk.runtime`.
"""

from __future__ import annotations

import math
from typing import Any

_EIGHT_BITS = ("i8", "u8")


def multiply_adds(model: Any, compiled: Any) -> dict[str, int]:
    """Count the multiply-adds of convolutions and matrix products.

    Args:
        model: `openvino.Model` with static shapes.
        compiled: `openvino.CompiledModel` made of it: its layers keep the names of the operations they come from.

    Returns:
        `float` and `int8`: what is computed in eight bits, and the rest.
    """
    eight = _names_in_eight_bits(compiled)
    total = {"float": 0, "int8": 0}
    for operation in model.get_ops():
        each = _of_one_output(operation)
        if each:
            kind = "int8" if operation.get_friendly_name() in eight else "float"
            total[kind] += each * math.prod(operation.get_output_shape(0))
    return total


def _names_in_eight_bits(compiled: Any) -> set[str]:
    facts = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops()]
    eight = [fact for fact in facts if fact["runtimePrecision"].astype(str) in _EIGHT_BITS]
    # The first name is of what the layer computes. The others were fused into it, and among them are some that OpenVINO
    # made up while it compiled, such as Multiply_43940, which may be the name of a convolution of the graph too.
    return {fact["originalLayersNames"].astype(str).split(",")[0] for fact in eight}


def _of_one_output(operation: Any) -> int:
    """Multiply-adds that one number of an operation's output takes; 0 of what isn't counted."""
    kind = operation.get_type_name()
    if kind == "Convolution":
        return math.prod(operation.get_input_shape(1)[1:])  # [out, in, height, width]
    if kind == "GroupConvolution":
        return math.prod(operation.get_input_shape(1)[2:])  # [groups, out, in, height, width]
    if kind == "MatMul":
        shape = operation.get_input_shape(0)
        return int(shape[-2] if operation.get_attributes()["transpose_a"] else shape[-1])
    return 0
