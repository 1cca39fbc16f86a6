"""Multi-person 2D pose estimation on OpenVINO: pictures and videos in, everyone's keypoints out.

```python
from boir_sdk import PoseEstimator

with PoseEstimator() as estimator:
    poses = estimator("people.jpg")
    print(len(poses), poses.keypoints.shape)  # N people, [N, K, 2] pixels
```

The names below are the public face; each is loaded when it is first asked for, so that `import boir_sdk` costs next to
nothing and a program that only reads results never loads OpenVINO.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boir_sdk.errors import (
        BoirError,
        BundleError,
        CheckpointError,
        ConfigError,
        DataError,
        InferenceError,
        InputError,
        InstallError,
    )
    from boir_sdk.estimator import PoseEstimator
    from boir_sdk.poses import Poses
    from boir_sdk.skeleton import COCO17, CROWDPOSE14, Skeleton, get_skeleton
    from boir_sdk.stream.health import Limits
    from boir_sdk.stream.result import StreamEvent, StreamResult

__version__ = "0.1.0"

__all__ = [
    "COCO17",
    "CROWDPOSE14",
    "BoirError",
    "BundleError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "InferenceError",
    "InputError",
    "InstallError",
    "Limits",
    "PoseEstimator",
    "Poses",
    "Skeleton",
    "StreamEvent",
    "StreamResult",
    "__version__",
    "get_skeleton",
]

_MODULE_OF = {
    "BoirError": "boir_sdk.errors",
    "BundleError": "boir_sdk.errors",
    "CheckpointError": "boir_sdk.errors",
    "ConfigError": "boir_sdk.errors",
    "DataError": "boir_sdk.errors",
    "InferenceError": "boir_sdk.errors",
    "InputError": "boir_sdk.errors",
    "InstallError": "boir_sdk.errors",
    "PoseEstimator": "boir_sdk.estimator",
    "Poses": "boir_sdk.poses",
    "COCO17": "boir_sdk.skeleton",
    "CROWDPOSE14": "boir_sdk.skeleton",
    "Skeleton": "boir_sdk.skeleton",
    "get_skeleton": "boir_sdk.skeleton",
    "Limits": "boir_sdk.stream.health",
    "StreamEvent": "boir_sdk.stream.result",
    "StreamResult": "boir_sdk.stream.result",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'boir_sdk' has no attribute {name!r}")
    try:
        value: object = getattr(import_module(_MODULE_OF[name]), name)
    except ImportError as error:
        from boir_sdk import errors

        raise errors.InstallError(
            f"boir-sdk can't load a library that it needs ({error}): `boir doctor` says what to do"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
