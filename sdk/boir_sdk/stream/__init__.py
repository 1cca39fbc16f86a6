"""Streams: a camera, video or RTSP address in, one result a frame out, for hours.

`PoseEstimator.stream` and `PoseEstimator.streams` are the usual door. A source passes through these modules in turn:
`source` (what was meant), `capture` (a thread that reads and reconnects), `inbox` (what waits, by policy), `pipeline`
(inference in flight, results in order). The names below are loaded when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boir_sdk.stream.failure import SourceError
    from boir_sdk.stream.health import Limits
    from boir_sdk.stream.pipeline import Stream
    from boir_sdk.stream.result import StreamEvent, StreamResult
    from boir_sdk.stream.source import Frame, Source, open_source

__all__ = ["Frame", "Limits", "Source", "SourceError", "Stream", "StreamEvent", "StreamResult", "open_source"]

_MODULE_OF = {
    "Frame": "boir_sdk.stream.source",
    "Limits": "boir_sdk.stream.health",
    "Source": "boir_sdk.stream.source",
    "SourceError": "boir_sdk.stream.failure",
    "Stream": "boir_sdk.stream.pipeline",
    "StreamEvent": "boir_sdk.stream.result",
    "StreamResult": "boir_sdk.stream.result",
    "open_source": "boir_sdk.stream.source",
}


def __getattr__(name: str) -> object:
    """Load a name on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'boir_sdk.stream' has no attribute {name!r}")
    value: object = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value
