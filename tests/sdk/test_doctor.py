"""`boir_sdk.doctor`: each judgement by a table, and the whole on this machine."""

from __future__ import annotations

import sys

import pytest

from boir_sdk import doctor

INFO = {
    "device_name": "Some CPU ",
    "precision": {"asked": "int8", "weights": "int8", "hint": "f32", "effective": "int8+f32"},
}


@pytest.mark.parametrize(
    ("installed", "level", "says"),
    [
        ({"opencv-python": "4.8"}, "ok", "opencv-python 4.8"),
        ({"opencv-python-headless": "5.0", "numpy": "2"}, "ok", "headless"),
        ({"opencv-python": "4.8", "opencv-python-headless": "4.8"}, "bad", "2 flavours"),
        ({"opencv-python": "4", "opencv-contrib-python": "4", "opencv-python-headless": "4"}, "bad", "3 flavours"),
        ({"numpy": "2"}, "note", "no OpenCV"),
    ],
)
def test_opencv_flavours(installed, level, says):
    found = doctor.opencv_flavours(installed)
    assert (found.level, says in found.says) == (level, True)
    if level == "bad":
        there = [name for name in installed if name.startswith("opencv")]
        assert found.do.startswith("pip uninstall -y ")
        assert all(name in found.do for name in there)


@pytest.mark.parametrize(
    ("build", "backends", "level"),
    [
        ("  Video I/O:\n    FFMPEG:                      YES\n", ["FFMPEG", "V4L2"], "ok"),
        ("  Video I/O:\n    FFMPEG:                      NO\n", ["V4L2"], "bad"),
        ("  Video I/O:\n    FFMPEG:                      YES\n", ["V4L2"], "bad"),
        ("", [], "bad"),
    ],
)
def test_video(build, backends, level):
    found = doctor.video(build, backends)
    assert found.level == level
    assert bool(found.do) == (level == "bad")


@pytest.mark.parametrize(
    ("machine", "flags", "level", "says"),
    [
        ("x86_64", {"avx2", "avx512_vnni"}, "ok", "avx512_vnni"),
        ("x86_64", {"avx2", "avx_vnni"}, "ok", "avx_vnni"),
        ("x86_64", {"avx2", "f16c"}, "note", "no VNNI"),
        ("x86_64", {"sse4_2"}, "bad", "without AVX2"),
        ("aarch64", {"asimd"}, "ok", "aarch64"),
        ("x86_64", None, "note", "can't be listed"),
    ],
)
def test_processor(monkeypatch, machine, flags, level, says):
    monkeypatch.setattr(doctor.platform, "machine", lambda: machine)
    found = doctor.instructions(None if flags is None else frozenset(flags))
    assert (found.level, says in found.says) == (level, True)
    assert found.do or level == "ok" or flags is None


@pytest.mark.parametrize(
    ("answer", "level", "says"),
    [
        ({"CPU": {"name": "A", "capabilities": []}}, "ok", "CPU (A)"),
        ({"GPU": {"name": "B", "capabilities": []}}, "bad", "no CPU"),
        ("the process was ended by signal 11", "bad", "signal 11"),
    ],
)
def test_devices(answer, level, says):
    found = doctor.devices(answer)
    assert (found.level, says in found.says) == (level, True)
    assert bool(found.do) == (level == "bad")


@pytest.mark.parametrize(
    ("answer", "level", "says"),
    [
        (INFO, "ok", "int8+f32"),
        ({**INFO, "precision": {**INFO["precision"], "effective": "f32"}}, "note", "no 8-bit"),
        ("the process was ended by signal 4", "bad", "signal 4"),
    ],
)
def test_inference(answer, level, says):
    found = doctor.inference("default", "CPU", answer)
    assert (found.level, says in found.says) == (level, True)
    assert bool(found.do) == (level != "ok")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print('noise'); print('{\"a\": 1}')", {"a": 1}),
        ("import os; os.kill(os.getpid(), 11)", "signal 11"),
        ("raise ValueError('so it is')", "so it is"),
        ("raise SystemExit(3)", "code 3"),
        ("print('[1]')", "unexpected"),
        ("pass", "code 0"),
        ("print('no json')", "unexpected"),
    ],
)
def test_children(program, expected):
    if "kill" in program and sys.platform == "win32":
        pytest.skip("no signals")
    answer = doctor._child(program)
    assert answer == expected if isinstance(expected, dict) else expected in answer


def test_a_child_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(doctor, "CHILD_TIMEOUT_S", 0.5)
    assert "no answer" in doctor._child("import time; time.sleep(60)")


def test_a_look_that_fails_is_a_finding_and_the_others_go_on(monkeypatch):
    def broken():
        raise RuntimeError("unheard of")

    monkeypatch.setattr(doctor, "_video", broken)
    monkeypatch.setattr(doctor, "_child", lambda *_: "not tried")
    found = {finding.about: finding for finding in doctor.examine()}
    assert found["video"].level == "bad"
    assert "unheard of" in found["video"].says
    assert found["python"].level == "ok"
    assert found["inference CPU"].level == "bad"


def test_a_damaged_bundle_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_child", lambda *_: "not tried")
    (tmp_path / "manifest.json").write_text("{}")
    found = {finding.about: finding for finding in doctor.examine(model=str(tmp_path))}
    assert found["bundle"].level == "bad"


def test_probes_run_every_device_with_every_precision(monkeypatch):
    asked = []

    def child(program, *arguments):
        asked.append(arguments)
        return INFO if arguments else {"CPU": {"name": "A"}, "GPU": {"name": "B"}}

    monkeypatch.setattr(doctor, "_child", child)
    found = [finding.about for finding in doctor.examine(probe=True)]
    assert found[-2:] == ["inference CPU int8", "inference GPU int8"]


def test_this_machine():
    found = {finding.about: finding for finding in doctor.examine()}
    assert found["devices"].facts["CPU"]["name"]
    assert found["bundle"].level == "ok", found["bundle"]
    assert found["inference CPU"].facts["asked"] == "int8"
