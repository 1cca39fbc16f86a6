"""Layers against arithmetic and bytes: the sums by hand, and the layers of a real graph."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

from boir_sdk import layer_bench, roofline, yardstick
from boir_sdk.errors import InputError
from boir_sdk.feeding import Setting, frame
from boir_sdk.roofline import Layer, Speeds

SPEEDS = Speeds(float_multiply_adds=100, int8_multiply_adds=400, bytes=1000)
LAYERS = [
    Layer("a", "Convolution", "f32", 8.0, multiply_adds=400, bytes=1000),  # 4 ms of arithmetic, 1 of bytes
    Layer("b", "Convolution", "u8", 2.0, multiply_adds=400, bytes=500),  # 1 and 0.5
    Layer("c", "Subgraph", "f32", 5.0, multiply_adds=0, bytes=3000),  # 0 and 3
    Layer("d", "Convolution", "f32", 3.0, multiply_adds=50, bytes=1000),  # 0.5 and 1
]


def test_the_larger_of_arithmetic_and_bytes_is_the_bound() -> None:
    assert [roofline.bounds_ms(layer, SPEEDS) for layer in LAYERS] == [(4, 1), (1, 0.5), (0, 3), (0.5, 1)]
    whole = roofline.total(LAYERS, SPEEDS)
    assert (whole.count, whole.milliseconds, whole.bound_ms) == (4, 18.0, 9.0)
    assert whole.by_bytes == pytest.approx(4 / 9)
    kinds = roofline.by_kind(LAYERS, SPEEDS)
    assert [(each.kind, each.count, each.milliseconds, each.bound_ms) for each in kinds] == [
        ("Convolution f32", 2, 11.0, 5.0),
        ("Subgraph f32", 1, 5.0, 3.0),
        ("Convolution u8", 1, 2.0, 1.0),
    ]
    assert roofline.total([], SPEEDS).by_bytes == 0


def test_a_layer_faster_than_the_yardstick_is_at_its_limit_and_no_further() -> None:
    cached = Layer("e", "Subgraph", "f32", 1.0, multiply_adds=0, bytes=5000)
    assert roofline.bounds_ms(cached, SPEEDS) == (0, 5)
    assert roofline.total([cached, LAYERS[0]], SPEEDS).bound_ms == 1 + 4


def test_a_graphs_layers_are_counted_by_hand() -> None:
    """A convolution, a grouped one and two products, of which one has its left side turned round."""
    ops = ov.opset13
    picture = ops.parameter([1, 8, 16, 16], np.float32)
    ones = [1, 1]
    filters = ops.constant(np.ones((4, 8, 3, 3), np.float32))
    plain = ops.convolution(picture, filters, ones, ones, ones, ones)  # [1, 4, 16, 16]
    each = ops.constant(np.ones((4, 1, 1, 5, 5), np.float32))
    grouped = ops.group_convolution(plain, each, ones, [2, 2], [2, 2], ones)
    rows = ops.reshape(grouped, ops.constant([4, 256]), special_zero=False)
    square = ops.matmul(rows, rows, False, True)  # [4, 4], 256 summed
    turned = ops.matmul(square, rows, True, False)  # [4, 256], 4 summed
    compiled = ov.Core().compile_model(
        ov.Model([turned], [picture]), "CPU", {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": "f32"}
    )
    turns = []
    layers = yardstick.layer_times(compiled, 2, lambda: turns.append(1))
    assert len(turns) == 3
    works = sorted(layer.multiply_adds for layer in layers if layer.multiply_adds)
    assert works == [4 * 4 * 256, 4 * 256 * 4, 4 * 256 * 25, 4 * 256 * 8 * 9]
    (first,) = (layer for layer in layers if layer.multiply_adds == works[-1])
    assert first.kind == "Convolution"
    assert first.bytes >= 4 * (8 * 256 + 4 * 256 + 4 * 8 * 9)  # the picture in, the map out and the filters, float32
    assert [layer.milliseconds for layer in layers] == sorted((layer.milliseconds for layer in layers), reverse=True)


def test_the_embedded_graphs_layers_add_up_to_their_arithmetic() -> None:
    parts = layer_bench.measure([Setting("default", 192, None, 1)], 1, frame())
    assert [part.part for part in parts] == ["dense", "person"]
    with Setting("default", 192, None, 1).estimator() as estimator:
        estimator(frame())
        work = estimator._runtime.work(*parts[0].network)
    for part in parts:
        eight = sum(layer.multiply_adds for layer in part.layers if roofline.eight_bits(layer.precision))
        every = sum(layer.multiply_adds for layer in part.layers)
        expected = work[part.part]
        assert every == pytest.approx(sum(expected.values()), rel=0.02)
        assert eight == pytest.approx(expected["int8"], rel=0.02)
        assert part.whole.bound_ms == pytest.approx(sum(each.bound_ms for each in part.kinds))
        assert min(part.speeds.float_multiply_adds, part.speeds.int8_multiply_adds, part.speeds.bytes) > 0
    assert layer_bench.measure([Setting("default", 192, None, None)], 1, frame(), going=lambda: False) == []


def test_other_devices_are_not_compared_with_the_cpu() -> None:
    with pytest.raises(InputError, match="device CPU"):
        layer_bench.measure([Setting("default", None, None, None, "GPU")], 1, frame())
