"""This environment has the OpenCV without windows only, which pip can't accept in the place of the other."""

from __future__ import annotations

from importlib import metadata

from boir_sdk import doctor


def test_doctor_finds_nothing_wrong_with_it() -> None:
    names = {str(one.metadata["Name"]).lower() for one in metadata.distributions()}
    assert "opencv-python-headless" in names and "opencv-python" not in names
    found = {finding.about: finding for finding in doctor.examine()}
    assert found["opencv-flavours"].level == "ok" and "headless" in found["opencv-flavours"].says
    assert [finding.about for finding in found.values() if finding.level == "bad"] == []
