"""Other people's pose models as entrants of a benchmark, run by the `run_peer.py` that lies in their folder.

A runner names its models in `MODELS` (name to file of the OpenVINO graph, beside the runner) and runs one at a size by
`Peer(name, size, threads)`, which takes a BGR picture and gives keypoints [N, 17, 3] in its pixels and scores [N].
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import signal_stack
from boir_sdk.errors import ConfigError, DataError
from boir_sdk.quiet_openvino import ov
from boir_sdk.runtime import effective_precision
from boir_train import subject
from boir_train.benchmark import Entrant, Running

RUNNER = "run_peer.py"
_HINT = "INFERENCE_PRECISION_HINT"


class _OpenVino:
    """`openvino` for a runner, with a `Core` that computes floats in a given type.

    A runner leaves the type to OpenVINO, which takes bfloat16 where the processor has it, while our bundles say f32.
    """

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __getattr__(self, name: str) -> Any:
        return getattr(ov, name)

    def Core(self) -> ov.Core:
        core = ov.Core()
        core.set_property("CPU", {_HINT: self._hint})
        return core


def load_runner(folder: Path) -> ModuleType:
    """Import the runner of a folder of peers.

    Raises:
        DataError: there is none, it can't be imported, or it lacks `MODELS`, `Peer` or a model's file.
    """
    path = folder / RUNNER
    spec = importlib.util.spec_from_file_location("boir_peers", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DataError(f"no {RUNNER} in {folder}: name the folder that holds the peers and their runner")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        raise DataError(f"{path} can't be imported: {error}") from error
    for name in ("MODELS", "Peer"):
        if not hasattr(module, name):
            raise DataError(f"{path} has no {name}: it isn't a runner of peers")
    absent = [name for name in module.MODELS.values() if not (folder / name).is_file()]
    if absent:
        raise DataError(f"{folder} lacks {absent[0]}, which its {RUNNER} names")
    return module


def entrants(folder: Path, sizes: Sequence[int], threads: int, hint: str) -> list[Entrant]:
    """Enter every peer of a folder at every size.

    Args:
        folder: with the runner and the models.
        sizes: network pixels.
        threads: of the CPU.
        hint: OpenVINO's name of the type to compute floats in.

    Raises:
        DataError: see `load_runner`. An entrant raises ConfigError when started at a size that it can't run at.
    """
    runner = load_runner(folder)
    if hasattr(runner, "ov"):
        vars(runner)["ov"] = _OpenVino(hint)

    @contextmanager
    def start(name: str, size: int) -> Iterator[Running]:
        try:
            with signal_stack.preserved():
                peer = runner.Peer(name, size, threads)
        except RuntimeError as error:
            raise ConfigError(f"peer {name} doesn't run at size {size}: {error}") from error
        precision = _precision(peer, hint)
        yield Running(lambda image_bgr: _detect(peer, image_bgr), lambda: precision)

    result = []
    for name, file in runner.MODELS.items():
        parts = [folder / RUNNER, folder / file, (folder / file).with_suffix(".bin")]
        digest = ":".join(subject.sha256_of(part) for part in parts if part.is_file())
        result += [
            Entrant(name, size, False, f"{digest}:{name}:{size}:{hint}", partial(start, name, size)) for size in sizes
        ]
    return result


def _detect(peer: Any, image_bgr: NDArray[np.uint8]) -> list[dict[str, Any]]:
    poses, scores = peer(image_bgr)
    return [
        {"category_id": 1, "keypoints": np.asarray(pose, float).ravel().tolist(), "score": float(score)}
        for pose, score in zip(poses, scores, strict=True)
    ]


def _precision(peer: Any, hint: str) -> str:
    """What the compiled graph (the runner's `net`) says; `unknown` without one."""
    net = getattr(peer, "net", None)
    if not isinstance(net, ov.CompiledModel):
        return "unknown"
    effective = effective_precision(net)
    floats = effective.removeprefix("int8+")
    if floats != hint:
        raise ConfigError(f"a peer computes in {floats} where {hint} was asked for: its {RUNNER} sets {_HINT} itself")
    return effective
