"""A bundle of the committed `nano` weights in both float precisions, built once for all tests that read one."""

from __future__ import annotations

from pathlib import Path

import pytest

from boir_convert.build import build
from boir_convert.request import Request
from tests.conftest import ROOT

WEIGHTS = ROOT / "weights" / "nano.safetensors"


def small_bundle(factory: pytest.TempPathFactory) -> Path:
    """Its folder; tests that change it copy it first."""
    out = factory.getbasetemp() / "small-bundle"
    if not out.exists():
        build(Request(checkpoint=WEIGHTS, out=out, precisions=("fp32", "fp16"), score_threshold=0.13))
    return out
