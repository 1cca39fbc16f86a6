"""The other ways to run a network that `boir bench --against` measures: they compute the same."""

from __future__ import annotations

import io

import numpy as np
import torch

from boir_convert import rivals
from boir_train import build_model


def test_all_rivals_compute_the_same():
    torch.manual_seed(0)
    model = build_model("nano", "coco17").eval()
    picture = np.random.default_rng(0).integers(0, 256, (1, 96, 64, 3), dtype=np.uint8)
    answers = {kind: make(model, 3, (96, 64), 2)(picture) for kind, make in rivals.RIVALS.items()}
    eager = [np.asarray(part) for part in answers["torch"]]
    for other in (answers["onnxruntime"], list(answers["padded"].values())):
        assert [part.shape for part in other] == [part.shape for part in eager] == [(30, 3), (30, 17, 3), (30,)]
        np.testing.assert_allclose(other[0][:, 0], eager[0][:, 0], atol=1e-3)  # centre scores fall: no ties matter


def test_a_turn_for_every_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n\n"))
    rivals.main(["torch", "nano", "coco17", "96", "64", "1"])
    first, *times = capsys.readouterr().out.split()
    assert first == "ready"
    assert len(times) == 3
    assert all(float(each) > 0 for each in times)
