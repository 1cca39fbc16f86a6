"""Builds that share what they need not do again."""

from __future__ import annotations

import hashlib

import pytest

from boir_convert.export import export

_EXPORTED = {}


def _once(model, kernel):
    """`boir_convert.export.export`, once for the same weights; later it gives copies."""
    digest = hashlib.sha256(f"{model.settings.preset} {model.settings.skeleton.name} {kernel}".encode())
    for tensor in model.state_dict().values():
        digest.update(tensor.contiguous().numpy())
    key = digest.hexdigest()
    if key not in _EXPORTED:
        _EXPORTED[key] = export(model, kernel)
    dense, person = _EXPORTED[key]
    return dense.clone(), person.clone()


@pytest.fixture
def quick_builds(monkeypatch):
    """For tests of what happens around a conversion: it is done once for all of them, and no self-test is recorded."""
    monkeypatch.setattr("boir_convert.build.export", _once)
    monkeypatch.setattr("boir_convert.selftest.record", lambda folder: b"")
