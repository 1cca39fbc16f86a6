"""What of this machine and installation matters to boir-sdk, what is wrong with it, and what to do.

Every finding stands alone: a broken OpenCV must not keep the rest from being told. Whatever could take the process
down with it (loading a plugin, compiling a graph: openvino#32125, #37577) runs in a child process.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal

from boir_sdk import bundle, processor, signal_stack
from boir_sdk.errors import BoirError
from boir_sdk.stream.redact import redact

CHILD_TIMEOUT_S = 120
_FLAVOURS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_NEEDED = ("numpy", "openvino")
# What makes 8-bit and half-precision arithmetic fast, as Linux names it.
_FLAGS = ("avx2", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_DEVICES = "import json; from boir_sdk.doctor import list_devices; print(json.dumps(list_devices()))"
_PROBE = """
import json, sys
from boir_sdk.feeding import Setting, feed, frame
with Setting(**json.loads(sys.argv[1])).estimator() as estimator:
    feed(estimator).people = 1
    estimator(frame())
    print(json.dumps(estimator.info))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what was looked at, a short stable word.
        level: `ok`, `note` (worth knowing) or `bad` (something won't work).
        says: what was found.
        do: what to do about it; empty where nothing needs to be done.
        facts: the same for programs.
    """

    about: str
    level: Literal["ok", "note", "bad"]
    says: str
    do: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def examine(*, probe: bool = False, model: str = "default") -> Iterator[Finding]:
    """Look at everything, the cheap things first.

    Args:
        probe: also run the model on every device and precision it could use, each in a process of its own.
        model: folder of the bundle, `default` or `small`.
    """
    for about, look in (
        ("python", _python),
        ("packages", _packages),
        ("opencv-flavours", lambda: opencv_flavours(_installed())),
        ("video", _video),
        ("processor", lambda: instructions(processor.flags())),
        ("devices", lambda: devices(_child(_DEVICES))),
        ("bundle", lambda: _bundle(model)),
        ("inference", lambda: inference(model, "CPU", _child(_PROBE, _setting(model, "CPU")))),
    ):
        yield _safely(about, look)
    if probe:
        yield from _probes(model)


def opencv_flavours(installed: dict[str, str]) -> Finding:
    """Judge the distributions that bring `cv2`: all write the same folder, so two of them break each other.

    Args:
        installed: name to version of every distribution.
    """
    about = "opencv-flavours"
    there = {name: installed[name] for name in _FLAVOURS if name in installed}
    if len(there) > 1:
        names = " ".join(there)
        return Finding(
            about,
            "bad",
            f"{len(there)} flavours of OpenCV are installed over each other: {names}",
            f"pip uninstall -y {names} && pip install {next(iter(there))}",
            there,
        )
    if not there:
        return Finding(
            about,
            "note",
            "no OpenCV from a wheel is installed; if `import cv2` works it is the system's or a build of your own",
            "pip install opencv-python, if it doesn't work",
        )
    name, version = next(iter(there.items()))
    if name == "opencv-python-headless":
        return Finding(about, "ok", f"{name} {version} (opens no windows; boir needs none)", facts=there)
    return Finding(about, "ok", f"{name} {version}", facts=there)


def video(build: str, backends: list[str]) -> Finding:
    """Judge what OpenCV can open.

    Args:
        build: `cv2.getBuildInformation()`.
        backends: names of the back ends that it registered for streams.
    """
    ffmpeg = any(line.split(":")[0].strip() == "FFMPEG" and "YES" in line for line in build.splitlines())
    facts = {"ffmpeg": ffmpeg, "backends": backends}
    if ffmpeg and "FFMPEG" in backends:
        return Finding("video", "ok", "OpenCV has FFmpeg: video files, RTSP and HTTP streams can be read", facts=facts)
    return Finding(
        "video",
        "bad",
        f"this OpenCV has no FFmpeg: RTSP and most video files can't be read (it has {', '.join(backends) or 'none'})",
        "pip install --force-reinstall opencv-python (its wheels bring FFmpeg), or build OpenCV with FFmpeg",
        facts,
    )


def instructions(flags: frozenset[str] | None) -> Finding:
    """Judge the processor's instructions.

    Args:
        flags: as Linux lists them; None where they can't be read.
    """
    name = f"{platform.machine()}, {os.cpu_count()} cores"
    if flags is None:
        return Finding("processor", "note", f"{name}; its instructions can't be listed on {platform.system()}")
    has = [flag for flag in _FLAGS if flag in flags]
    facts = {"machine": platform.machine(), "cores": os.cpu_count(), "flags": has}
    says = f"{name}: {', '.join(has) or 'none of the instructions looked for'}"
    if platform.machine() not in ("x86_64", "AMD64"):
        return Finding("processor", "ok", name, facts=facts)
    if "avx2" not in flags:
        return Finding(
            "processor",
            "bad",
            f"{says}; without AVX2 inference is several times slower",
            "use a newer processor",
            facts,
        )
    if not {"avx512_vnni", "avx_vnni", "amx_int8"} & flags:
        return Finding(
            "processor",
            "note",
            f"{says}; no VNNI, so 8 bits are faster than floats by less than on newer processors",
            "nothing: int8 is still the fastest here; `boir bench --precision ...` tells for any bundle",
            facts,
        )
    return Finding("processor", "ok", says, facts=facts)


def devices(answer: dict[str, Any] | str) -> Finding:
    """Judge what OpenVINO finds.

    Args:
        answer: of the child: name to facts of each device; or why it failed.
    """
    if isinstance(answer, str):
        return Finding(
            "devices", "bad", f"OpenVINO can't list devices: {answer}", "pip install --force-reinstall openvino"
        )
    found = "; ".join(f"{name} ({facts['name']})" for name, facts in answer.items())
    if "CPU" not in answer:
        return Finding("devices", "bad", f"OpenVINO finds no CPU, only {found or 'nothing'}", _REINSTALL, answer)
    return Finding("devices", "ok", found, facts=answer)


def list_devices() -> dict[str, dict[str, Any]]:
    """Every device that OpenVINO finds: its full name and what it can do, in OpenVINO's words; loads every plugin."""
    from boir_sdk.quiet_openvino import ov

    wanted = {"name": "FULL_DEVICE_NAME", "capabilities": "OPTIMIZATION_CAPABILITIES"}
    with signal_stack.preserved():
        core = ov.Core()
        return {
            device: {key: core.get_property(device, name) for key, name in wanted.items()}
            for device in core.available_devices
        }


def inference(model: str, device: str, answer: dict[str, Any] | str, precision: str | None = None) -> Finding:
    """Judge a run of the model in a process of its own.

    Args:
        model: what was run.
        device: where.
        answer: `PoseEstimator.info` after a picture, or why it failed.
        precision: that was asked for; None for the bundle's default.
    """
    about = f"inference {device} {precision or ''}".rstrip()
    if isinstance(answer, str):
        do = "use another device or precision" if precision or device != "CPU" else _REINSTALL
        do = _ABOVE if answer.startswith(("ImportError", "ModuleNotFoundError")) else do
        return Finding(about, "bad", f"{redact(str(model))} doesn't run on {device}: {answer}", do)
    used = answer["precision"]
    says = f"{used['asked']} runs on {answer['device_name'].strip()}, computed in {used['effective']}"
    if used["weights"] == "int8" and not str(used["effective"]).startswith("int8"):
        return Finding(about, "note", f"{says}: no 8-bit kernels here", "a bundle with fp16 may be as fast", used)
    return Finding(about, "ok", says, facts=used)


_ABOVE = "see the finding above that says so too"
_REINSTALL = "pip install --force-reinstall openvino, or a version that supports this processor"


def _probes(model: str) -> Iterator[Finding]:
    """Every device with every precision the bundle has, bfloat16 included."""
    answer = _child(_DEVICES)
    try:
        precisions = list(bundle.read(model).manifest.precisions)
    except BoirError:  # the finding about the bundle says so
        return
    if isinstance(answer, str):
        return
    for device in answer:
        for precision in precisions:
            said = _child(_PROBE, _setting(model, device, precision))
            yield inference(model, device, said, precision)


def _python() -> Finding:
    version = platform.python_version()
    return Finding("python", "ok", f"Python {version} on {platform.platform()}", facts={"version": version})


def _packages() -> Finding:
    installed = _installed()
    there = {name: installed[name] for name in (*_NEEDED, "boir-sdk") if name in installed}
    missing = [name for name in _NEEDED if name not in installed]
    if missing:
        return Finding("packages", "bad", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}", there)
    return Finding("packages", "ok", ", ".join(f"{name} {version}" for name, version in there.items()), facts=there)


def _video() -> Finding:
    try:
        import cv2
    except ImportError as error:
        libgl = "libGL" in str(error) or "libgthread" in str(error) or "libxcb" in str(error)
        flavours = " ".join(name for name in _FLAVOURS if name in _installed())
        do = (
            f"apt-get install libgl1 libglib2.0-0, or pip uninstall -y {flavours} && pip install opencv-python-headless"
            if libgl
            else "pip install opencv-python"
        )
        return Finding("video", "bad", f"`import cv2` fails: {error}", do)
    registry = cv2.videoio_registry
    backends = [registry.getBackendName(backend) for backend in registry.getStreamBackends()]
    return video(cv2.getBuildInformation(), backends)


def _bundle(model: str) -> Finding:
    from boir_sdk import selftest

    opened = bundle.read(model)
    manifest = opened.manifest
    says = f"{manifest.name} {manifest.version}: all {len(manifest.files)} files are as they were made"
    outcome = selftest.run(model)
    facts = {"path": str(opened.path), "precisions": list(manifest.precisions), "selftest": outcome.status}
    if outcome.status == "failed":
        return Finding(
            "bundle",
            "bad",
            f"{says}, but this machine computes other poses: {'; '.join(outcome.problems)}",
            "try precision fp16 or fp32, another OpenVINO, and report it",
            facts,
        )
    tested = "it has no self-test" if outcome.status == "absent" else "its self-test gives the poses it should"
    return Finding("bundle", "ok", f"{says}; {tested}", facts=facts)


def _safely(about: str, look: Callable[[], Finding]) -> Finding:
    """What one look finds, or that it failed: the others are still wanted."""
    try:
        return look()
    except BoirError as error:
        return Finding(about, "bad", str(error), "see the message")
    except ImportError as error:  # of cv2 or numpy, which have findings of their own
        return Finding(about, "bad", f"can't be looked at: {error}", _ABOVE)
    except Exception as error:  # noqa: BLE001
        return Finding(
            about, "bad", f"{type(error).__name__}: {error}", "report it: doctor should have known this case"
        )


def _installed() -> dict[str, str]:
    """Name to version of every distribution that Python sees."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), distribution.version)
    return found


def _setting(model: str, device: str, precision: str | None = None) -> str:
    return json.dumps({"model": model, "size": None, "precision": precision, "threads": None, "device": device})


def _child(program: str, *arguments: str) -> dict[str, Any] | str:
    """Run a program in a process of its own: the object it prints, or why there is none."""
    command = [sys.executable, "-c", program, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHILD_TIMEOUT_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"no answer within {CHILD_TIMEOUT_S} s"
    except OSError as error:
        return f"no process could be started: {error}"
    if done.returncode < 0:
        return f"the process was ended by signal {-done.returncode}"
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode} without a word"])[-1]
    try:
        answer = json.loads(lines[-1])
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else f"an unexpected answer: {lines[-1][:100]}"
