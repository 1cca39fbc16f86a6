"""Checks that run inside an environment of the matrix, in a process of its own: prints one JSON object.

Only the standard library and the installed package are used; the checkout gives a picture and weights, by path.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT, EXTRA = Path(sys.argv[1]), sys.argv[2]
PROGRAMS = Path(sys.executable).parent
PICTURE = CHECKOUT / "demos" / "people.jpg"
PEOPLE = 4
HEAVY = ("torch", "onnx", "nncf", "pycocotools", "matplotlib")


def run(*command: str | Path) -> str:
    """Run a command of the environment that must succeed."""
    done = subprocess.run([PROGRAMS / command[0], *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout


def imports() -> dict[str, Any]:
    """`import boir_sdk` in new processes: the median time, and nothing heavy loaded."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        loaded = run("python", "-c", "import sys, boir_sdk; print('numpy' in sys.modules or 'torch' in sys.modules)")
        times.append(time.perf_counter() - start)
        assert loaded.strip() == "False", "import boir_sdk loads numpy or torch"
    estimator = run("python", "-X", "importtime", "-c", "import boir_sdk.estimator, sys; print(len(sys.modules))")
    return {"process_s": round(sorted(times)[2], 3), "modules": int(estimator)}


def installed_not_the_tree() -> dict[str, Any]:
    """The package comes from the environment; the core has no training library."""
    place = Path(importlib.util.find_spec("boir_sdk").origin)  # type: ignore[union-attr, arg-type]
    assert CHECKOUT not in place.parents, f"boir_sdk is read from the checkout: {place}"
    found = [name for name in HEAVY if importlib.util.find_spec(name) is not None]
    assert EXTRA != "core" or not found, f"the core brought {found}"
    return {}


def predict() -> dict[str, Any]:
    """`boir predict` finds the four people of the demo picture."""
    record = json.loads(run("boir", "predict", PICTURE, "--json", "--overlay", "overlay.jpg"))
    assert len(record["people"]) == PEOPLE, f"{len(record['people'])} people"
    assert Path("overlay.jpg").stat().st_size > 1000
    return {"scores": [round(person["score"], 3) for person in record["people"]]}


def selftest() -> dict[str, Any]:
    """The bundle gives the poses that were recorded where it was built."""
    from boir_sdk import selftest

    outcome = selftest.run("default")
    assert outcome.status == "passed", f"{outcome.status}: {outcome.problems}"
    return {}


def doctor() -> dict[str, Any]:
    """`boir doctor` judges; what it calls bad is in the facts (two flavours of OpenCV are bad on purpose)."""
    done = subprocess.run([PROGRAMS / "boir", "doctor", "--json"], capture_output=True, text=True, check=False)
    findings = json.loads(done.stdout)["findings"]
    bad = [finding["about"] for finding in findings if finding["level"] == "bad"]
    flavours = next(finding["says"] for finding in findings if finding["about"] == "opencv-flavours")
    expected = ["opencv-flavours"] if "flavours of OpenCV" in flavours else []
    assert bad == expected, f"bad: {[finding for finding in findings if finding['level'] == 'bad']}"
    assert done.returncode == bool(bad)
    return {"bad": bad, "opencv": flavours}


def train() -> dict[str, Any]:
    """The commands of training answer, and a network runs."""
    for command in (("boir-train", "--help"), ("boir-train", "fit", "--help"), ("boir-eval", "--help")):
        run(*command)
    code = """
import numpy, torch
from boir_train import build_model
from boir_train.inference import infer
infer(build_model("nano", "coco17"), numpy.zeros((128, 128, 3), "u1"), flip_test=False, protocol="coco")
print(torch.__version__)
"""
    return {"torch": run("python", "-c", code).strip()}


def convert() -> dict[str, Any]:
    """A bundle is built from the committed weights, and the runtime reads it."""
    for command in (("boir-convert", "--help"), ("boir-convert", "onnx", "--help")):
        run(*command)
    weights = CHECKOUT / "weights" / "nano.safetensors"
    run("boir-convert", "build", "--checkpoint", weights, "--precision", "fp16", "--out", "made")
    record = json.loads(run("boir", "predict", PICTURE, "--model", "made", "--json"))
    assert record["people"], "the bundle just built finds nobody"
    run("boir-convert", "ovms", "default", "--size", "256", "--out", "server")
    return {"people": len(record["people"])}


def main() -> None:
    """Carry out the checks of the extra, each for itself."""
    checks: list[Callable[[], dict[str, Any]]] = [installed_not_the_tree, imports, predict, selftest, doctor]
    checks += [train] * (EXTRA in ("train", "convert", "dev")) + [convert] * (EXTRA in ("convert", "dev"))
    result: dict[str, Any] = {}
    for check in checks:
        try:
            result[check.__name__] = {"ok": True, **check()}
        except Exception as error:  # noqa: BLE001 - a check that fails is a line of the matrix
            result[check.__name__] = {"ok": False, "why": f"{type(error).__name__}: {error}"[-1500:]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
