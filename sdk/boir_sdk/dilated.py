"""Widely dilated convolutions in another form, for processors with matrix units (AMX).

There OpenVINO's 3 x 3 convolution slows down with its dilation: in the neck of `w32` at 960 x 512 the rates 12, 24 and
36 take 14, 38 and 67 ms in 8 bits, where the arithmetic needs 8, and are half of the dense graph. The three rows that
the kernel looks at, laid beside each other as channels, make of it a kernel of one row, whose time does not depend on
the rate. The multiply-adds are the same; in 8 bits the integer sums are too, and so the bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from boir_sdk.quiet_openvino import ov

LEAST = 20  # cells of dilation: at 12 both forms take the same time


def unfold(model: ov.Model) -> int:
    """Rewrite, in place, the convolutions that are widely dilated.

    Args:
        model: a dense graph with static shapes, float or as NNCF quantised it.

    Returns:
        How many were rewritten.
    """
    done = 0
    for convolution in model.get_ops():
        if convolution.get_type_name() != "Convolution" or not _is_wide(convolution):
            continue
        filters = _rows_as_channels(convolution.input_value(1).get_node())
        if filters is not None and _zero_stays_zero(convolution.input_value(0).get_node()):
            convolution.output(0).replace(_unfolded(convolution, filters).output(0))
            done += 1
    return done


def _is_wide(convolution: Any) -> bool:
    """3 x 3, with the same dilation and padding on all sides, so that the map keeps its size."""
    facts = convolution.get_attributes()
    rate = facts["dilations"][0]
    return bool(
        rate >= LEAST
        and facts["dilations"] == facts["pads_begin"] == facts["pads_end"] == [rate, rate]
        and facts["strides"] == [1, 1]
        and convolution.get_input_partial_shape(0).is_static
    )


def _rows_as_channels(node: Any) -> Any:
    """Weights [O, C, 3, 3], a constant that may be converted and scaled, as [O, 3C, 1, 3]; None if they are not so."""
    ops, kind = ov.opset8, node.get_type_name()
    if kind == "Constant" and list(node.get_output_shape(0))[2:] == [3, 3]:
        weights = node.get_data().transpose(0, 2, 1, 3)
        return ops.constant(np.ascontiguousarray(weights.reshape(len(weights), -1, 1, 3)))
    if kind == "Convert":
        inner = _rows_as_channels(node.input_value(0).get_node())
        return None if inner is None else ops.convert(inner, node.get_output_element_type(0).get_type_name())
    if kind == "Multiply":
        inner, scale = _rows_as_channels(node.input_value(0).get_node()), node.input_value(1)
        return None if inner is None or list(scale.get_shape())[1:] != [1, 1, 1] else ops.multiply(inner, scale)
    return None


def _zero_stays_zero(node: Any) -> bool:
    """Is a border of 0 exact in this map? Not if it is quantised from another number up."""
    if node.get_type_name() != "FakeQuantize":
        return True
    low = [node.input_value(place).get_node() for place in (1, 3)]
    return all(bound.get_type_name() == "Constant" and not np.any(bound.get_data()) for bound in low)


def _unfolded(convolution: Any, filters: Any) -> Any:
    ops = ov.opset8
    rate = convolution.get_attributes()["dilations"][0]
    height = convolution.get_input_shape(0)[2]

    def numbers(*values: int) -> Any:
        return ops.constant(np.array(values, dtype=np.int64))

    above = numbers(0, 0, rate, 0)
    padded = ops.pad(convolution.input_value(0), above, above, "constant", ops.constant(np.float32(0)))
    rows = [
        ops.slice(padded, numbers(start), numbers(start + height), numbers(1), numbers(2))
        for start in (0, rate, 2 * rate)
    ]
    product = ops.convolution(ops.concat(rows, 1), filters, [1, 1], [0, rate], [0, rate], [1, rate])
    product.set_friendly_name(convolution.get_friendly_name())
    return product
