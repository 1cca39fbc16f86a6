"""Other people's pose models as entrants of a benchmark, run by the `run_peer.py` that lies in their folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import signal_stack
from boir_sdk.errors import DataError
from boir_train.benchmark import Entrant

RUNNER = "run_peer.py"


def load_runner(folder: Path) -> ModuleType:
    """Import the runner of a folder of peers; it names its models in `MODELS` and runs one as `Peer`.

    Raises:
        DataError: there is none, or it lacks one of the two.
    """
    path = folder / RUNNER
    spec = importlib.util.spec_from_file_location("boir_peers", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DataError(f"no {RUNNER} in {folder}: name the folder that holds the peers and their runner")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("MODELS", "Peer"):
        if not hasattr(module, name):
            raise DataError(f"{path} has no {name}: it isn't a runner of peers")
    return module


def entrants(runner: ModuleType, sizes: Sequence[int], threads: int) -> list[Entrant]:
    """Every peer at every size; sizes that a peer refuses are the caller's concern."""
    return [_entrant(runner, name, size, threads) for name in runner.MODELS for size in sizes]


def _entrant(runner: ModuleType, name: str, size: int, threads: int) -> Entrant:
    with signal_stack.preserved():
        peer = runner.Peer(name, size, threads)

    def detect(image_bgr: NDArray[np.uint8]) -> list[dict[str, Any]]:
        poses, scores = peer(image_bgr)
        return [
            {"category_id": 1, "keypoints": np.asarray(pose, float).ravel().tolist(), "score": float(score)}
            for pose, score in zip(poses, scores, strict=True)
        ]

    return Entrant(name, size, detect, lambda: _precision(peer))


def _precision(peer: Any) -> str:
    try:
        return str(peer.net.get_property("INFERENCE_PRECISION_HINT"))
    except (AttributeError, RuntimeError):
        return "unknown"
