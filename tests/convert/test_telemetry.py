"""A conversion sends nothing home, and leaves the environment as it was."""

from __future__ import annotations

import os
import socket

import torch

from boir_convert.build import Request, build
from boir_sdk import telemetry
from boir_train import build_model, checkpoint


def test_environment_is_restored(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("NNCF_CI", "mine")
    with telemetry.off():
        assert os.environ["CI"] == "true"
        assert os.environ["NNCF_CI"] == "1"
    assert "CI" not in os.environ
    assert os.environ["NNCF_CI"] == "mine"


def test_a_conversion_opens_no_connection(monkeypatch, tmp_path):
    """Outside CI, OpenVINO's converter would report each conversion from a thread of its own."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted: list[object] = []

    def refuse(self, address):
        wanted.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: refuse(None, args[0]))
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "nano.safetensors", build_model("nano", "coco17").state_dict())
    build(Request(checkpoint=tmp_path / "nano.safetensors", out=tmp_path / "out"))
    assert wanted == []
