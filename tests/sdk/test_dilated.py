"""Widely dilated convolutions in another form: the same numbers, and only where that is so."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

from boir_sdk import bundle, dilated, processor
from boir_sdk.runtime import Options, Runtime

ops = ov.opset8
HEIGHT, WIDTH, CHANNELS, OUTPUTS = 40, 56, 16, 8


def scalar(value):
    return ops.constant(np.full((1, 1, 1, 1), value, dtype=np.float32))


def quantised(node, low):
    return ops.fake_quantize(node, scalar(low), scalar(4), scalar(low), scalar(4), 256)


def filters(kind, kernel=3):
    generator = np.random.default_rng(1)
    shape = (OUTPUTS, CHANNELS, kernel, kernel)
    if kind == "int8":
        scale = ops.constant(generator.uniform(0.001, 0.01, (OUTPUTS, 1, 1, 1)).astype(np.float32))
        weights = generator.integers(-127, 128, shape).astype(np.int8)
        return ops.multiply(ops.convert(ops.constant(weights), "f32"), scale)
    weights = generator.normal(size=shape) / 12
    if kind == "fp16":
        return ops.convert(ops.constant(weights.astype(np.float16)), "f32")
    return ops.constant(weights.astype(np.float32))


def graph(kind="fp32", rate=24, *, low=None, padding=None, stride=1, kernel=3, free=False):
    given = ops.parameter(ov.PartialShape([1, CHANNELS, -1 if free else HEIGHT, WIDTH]), np.float32)
    data = given if low is None else quantised(given, low)
    pads = [padding or rate * (kernel // 2)] * 2
    made = ops.convolution(data, filters(kind, kernel), [stride] * 2, pads, pads, [rate] * 2)
    return ov.Model([ops.relu(made)], [given])


def run(model):
    picture = np.random.default_rng(2).uniform(0, 4, (1, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)
    return np.array(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([picture])[0])


@pytest.mark.parametrize(("kind", "low"), [("fp32", None), ("fp16", None), ("int8", 0), ("int8", None)])
@pytest.mark.parametrize("rate", [20, 24, 36])
def test_the_other_form_gives_the_same_map(kind, low, rate):
    before, model = run(graph(kind, rate, low=low)), graph(kind, rate, low=low)
    assert dilated.unfold(model) == 1
    (made,) = [node for node in model.get_ops() if node.get_type_name() == "Convolution"]
    assert made.get_attributes()["dilations"] == [1, rate]
    np.testing.assert_allclose(run(model), before, rtol=1e-5, atol=1e-5)
    assert np.ptp(before) > 1


@pytest.mark.parametrize(
    "given",
    [
        {"rate": 12},
        {"low": -1},
        {"padding": 30},
        {"stride": 2},
        {"kernel": 5},
        {"free": True},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_is_left_alone(given):
    model = graph(**given)
    assert dilated.unfold(model) == 0
    (made,) = [node for node in model.get_ops() if node.get_type_name() == "Convolution"]
    assert made.get_attributes()["dilations"] == [given.get("rate", 24)] * 2


def test_weights_of_an_unknown_form_are_left_alone():
    given = ops.parameter([1, CHANNELS, HEIGHT, WIDTH], np.float32)
    weights = ops.add(filters("fp32"), ops.constant(np.float32(1)))
    made = ops.convolution(given, weights, [1, 1], [24, 24], [24, 24], [24, 24])
    assert dilated.unfold(ov.Model([made], [given])) == 0


@pytest.mark.parametrize(
    ("precision", "flags", "expected"),
    [
        ("int8", {"amx_int8"}, True),
        ("int8", {"avx512_vnni", "amx_bf16"}, False),
        ("int8", None, False),
    ],
)
def test_only_processors_with_matrix_units_get_it(monkeypatch, precision, flags, expected):
    monkeypatch.setattr(processor, "flags", lambda: flags)
    assert Runtime(bundle.read("default"), Options("CPU", precision, 1, None, 1))._unfolds is expected
