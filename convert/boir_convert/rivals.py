"""Other ways to run the same network, for `boir bench --against`: started as a process, timed turn by turn.

    python -m boir_convert.rivals torch nano coco17 512 288 2

says `ready`, then runs once for every line it reads, and answers with the milliseconds. All run the whole network in
float on a noise picture, always with 30 people: that is what a single graph has to do. The weights are random, which
changes no time.

    torch         PyTorch, eager
    onnxruntime   the ONNX file that `boir-convert onnx` makes, on the CPU
    padded        the same file compiled by OpenVINO
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from boir_convert import onnx_export
from boir_sdk import signal_stack
from boir_train import build_model
from boir_train.model.boir import BoIR
from boir_train.model.nano import Nano

Run = Callable[[NDArray[np.uint8]], Any]


def torch_eager(model: Nano | BoIR, kernel: int, shape: tuple[int, int], threads: int) -> Run:
    """The deployment modules as they are."""
    torch.set_num_threads(threads)
    module = onnx_export.WholeNetwork(model, kernel, flip_test=False).eval()

    def run(picture: NDArray[np.uint8]) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(picture))

    return run


def onnxruntime(model: Nano | BoIR, kernel: int, shape: tuple[int, int], threads: int) -> Run:
    """All optimisations that onnxruntime has."""
    import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would take others' turns too
    session = ort.InferenceSession(_onnx(model, kernel, shape), options, providers=["CPUExecutionProvider"])
    return lambda picture: session.run(None, {onnx_export.INPUT: picture})


def padded(model: Nano | BoIR, kernel: int, shape: tuple[int, int], threads: int) -> Run:
    """One OpenVINO graph with 30 people, in float."""
    from boir_sdk.quiet_openvino import ov

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    with signal_stack.preserved():
        core = ov.Core()
        compiled = core.compile_model(core.read_model(_onnx(model, kernel, shape), b""), "CPU", config)
    request = compiled.create_infer_request()
    return lambda picture: request.infer({0: picture})


RIVALS = {"torch": torch_eager, "onnxruntime": onnxruntime, "padded": padded}


def main(arguments: Sequence[str]) -> None:
    """Make a rival and let it run a turn for every line of stdin.

    Args:
        arguments: kind, preset, skeleton, height and width of the network picture in pixels, threads.
    """
    kind, preset, skeleton = arguments[:3]
    height, width, threads = map(int, arguments[3:])
    model = cast(Nano | BoIR, build_model(preset, skeleton).eval())
    run = RIVALS[kind](model, model.settings.pool_kernel, (height, width), threads)
    picture = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    run(picture)
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        run(picture)
        print(1e3 * (time.perf_counter() - begin), flush=True)


def _onnx(model: Nano | BoIR, kernel: int, shape: tuple[int, int]) -> bytes:
    graph = onnx_export.simplified(onnx_export.to_onnx(model, kernel, shape, flip_test=False))
    return bytes(graph.SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1:])
