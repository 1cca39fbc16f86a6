"""OpenVINO, imported without its report home; once told, it stays quiet for the process. Import it from here only."""

from __future__ import annotations

from boir_sdk import telemetry

with telemetry.off():
    import openvino as ov

__all__ = ["ov"]
