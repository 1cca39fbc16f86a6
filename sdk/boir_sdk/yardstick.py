"""What this machine can do, and how long each layer of a compiled graph takes: the parts of a roofline."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from boir_sdk import signal_stack
from boir_sdk.quiet_openvino import ov
from boir_sdk.roofline import Layer

CHAIN = 6
COPIED = (1, 64, 144, 256)  # float32, 9.4 MB: a map of a large layer
_BYTES = {"f32": 4, "i32": 4, "f16": 2, "bf16": 2, "i64": 8, "u8": 1, "i8": 1, "boolean": 1}


def convolution(threads: int | None, *, eight_bits: bool) -> tuple[Callable[[], Any], int]:
    """Compile the convolutions whose speed a network's is measured by: 3 x 3, 256 to 256 channels, 48 x 48 cells, CPU.

    Several, one after the other, each with a ReLU: a processor with matrix units needs longer to change the type of a
    lone one's input and to write its output than to multiply.

    Args:
        threads: of the CPU; None for OpenVINO's choice.
        eight_bits: quantised to 8 bits on both sides, instead of float32.

    Returns:
        A function that runs them once, and their multiply-adds.
    """
    ops, generator, side, channels = ov.opset1, np.random.default_rng(0), 48, 256
    picture = ops.parameter([1, channels, side, side], np.float32)
    low, zero, high = (ops.constant(np.full((1, 1, 1, 1), limit, dtype=np.float32)) for limit in (-1, 0, 1))
    maps: Any = picture
    for _ in range(CHAIN):
        weights = generator.uniform(-1, 1, (channels, channels, 3, 3)) / math.sqrt(channels)
        filters: Any = ops.constant(weights.astype(np.float32))
        if eight_bits:
            maps = ops.fake_quantize(maps, zero, high, zero, high, 256)
            filters = ops.fake_quantize(filters, low, high, low, high, 255)
        maps = ops.relu(ops.convolution(maps, filters, [1, 1], [1, 1], [1, 1], [1, 1]))
    model = ov.Model([maps], [picture])
    return _filled(model, threads, generator), CHAIN * side * side * channels * channels * 9


def copying(threads: int | None) -> tuple[Callable[[], Any], int]:
    """Compile an addition to every number of a large map, which takes as long as its bytes take to be moved, CPU.

    Args:
        threads: of the CPU; None for OpenVINO's choice.

    Returns:
        A function that runs it once, and the bytes that it reads and writes.
    """
    ops, generator = ov.opset1, np.random.default_rng(0)
    data = ops.parameter(list(COPIED), np.float32)
    model = ov.Model([ops.add(data, ops.constant(np.float32(1)))], [data])
    return _filled(model, threads, generator), 2 * 4 * math.prod(COPIED)


def layer_times(compiled: ov.CompiledModel, rounds: int, between: Callable[[], None]) -> list[Layer]:
    """Run a graph and say what each layer took.

    Args:
        compiled: with the property PERF_COUNT; its inputs get random numbers.
        rounds: that count; one more before.
        between: called before each round, to measure something else in turns.

    Returns:
        Every layer that ran, in falling order of time.
    """
    request, generator = compiled.create_infer_request(), np.random.default_rng(0)
    for tensor in request.input_tensors:
        top = 256 if tensor.element_type == ov.Type.u8 else 1
        tensor.data[:] = generator.uniform(0, top, tuple(tensor.shape)).astype(tensor.data.dtype)
    took_ms: defaultdict[str, list[float]] = defaultdict(list)
    for turn in range(rounds + 1):
        between()
        request.infer()
        if turn:
            for info in request.get_profiling_info():
                took_ms[info.node_name].append(1e3 * info.real_time.total_seconds())
    layers = []
    for operation in compiled.get_runtime_model().get_ops():
        name = operation.get_friendly_name()
        facts = {key: value.astype(str) for key, value in operation.get_rt_info().items()}
        times_ms = took_ms.get(name, [0.0])
        if not any(times_ms) or facts["layerType"] in ("Input", "Output", "Const"):
            continue
        moved = sum(_size(source) for source in (value.get_node() for value in operation.input_values()))
        if facts["layerType"] == "Gather":  # reads what it gives out, not all there is
            moved = _size(operation)
        work = _multiply_adds(operation, facts["layerType"])
        layers.append(
            Layer(
                name=facts["originalLayersNames"].split(",")[0] or name,
                kind=facts["layerType"],
                precision=facts["runtimePrecision"],
                milliseconds=statistics.median(times_ms),
                multiply_adds=work,
                bytes=moved + _size(operation),
            )
        )
    return sorted(layers, key=lambda layer: -layer.milliseconds)


def _size(operation: Any) -> int:
    """Bytes of an operation's first output; an input that is left out has length 0 and no known type."""
    kind = operation.get_rt_info()["outputPrecisions"].astype(str).split(",")[0]
    return _BYTES.get(kind, 4) * int(math.prod(operation.get_output_shape(0)))


def _multiply_adds(operation: Any, kind: str) -> int:
    outputs = int(math.prod(operation.get_output_shape(0)))
    if kind == "Convolution":
        weights = operation.get_input_shape(1)
        grouped = len(weights) > len(operation.get_input_shape(0))
        return outputs * int(math.prod(weights[2:] if grouped else weights[1:]))
    if kind == "MatMul":
        # Whichever way the left side is turned, the length that is summed over is what the output's rows lack.
        return outputs * (int(math.prod(operation.get_input_shape(0)[-2:])) // int(operation.get_output_shape(0)[-2]))
    if kind == "FullyConnected":
        return outputs * int(operation.get_input_shape(0)[-1])
    return 0


def _filled(model: ov.Model, threads: int | None, generator: np.random.Generator) -> Callable[[], Any]:
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    with signal_stack.preserved():
        request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
    tensor = request.input_tensors[0]
    tensor.data[:] = generator.uniform(-1, 1, tuple(tensor.shape)).astype(np.float32)

    def run() -> None:
        request.infer()

    return run
