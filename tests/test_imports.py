"""Imports point one way, form no circle, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = {
    "boir_sdk": ROOT / "sdk" / "boir_sdk",
    "boir_train": ROOT / "train" / "boir_train",
    "boir_convert": ROOT / "convert" / "boir_convert",
}
TRAINING_ONLY = {"torch", "torchvision", "onnx", "onnxsim", "onnxruntime", "nncf", "pycocotools", "matplotlib"}
FORBIDDEN = {
    "boir_sdk": {"boir_train", "boir_convert", "faster_coco_eval", "safetensors", "tqdm", "yaml", *TRAINING_ONLY},
    "boir_train": {"boir_convert"},
    "boir_convert": set(),
}
SDK_CORE = {"numpy", "cv2", "openvino", "boir_sdk"}
SDK_OPTIONAL = {("interchange.py", "supervision")}
OPENVINO_SEAMS = {"runtime.py", "doctor.py"}
IN_TREE = {**os.environ, "PYTHONPATH": str(ROOT / "sdk")}
DEMO_MAY = {"boir_sdk", "numpy", "cv2"}


def imported(path: Path, *, package: str = "", module_level: bool = False) -> set[str]:
    """Dotted names a file imports; with `module_level`, only what runs when the module is imported."""
    tree = ast.parse(path.read_text(), filename=str(path))
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if module_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if module_level and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return names


def modules(package: str) -> dict[str, Path]:
    """Dotted name -> file of every module of a package."""
    root = PACKAGES[package]
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def parent(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def tops(path: Path, package: str = "") -> set[str]:
    return {name.partition(".")[0] for name in imported(path, package=package)}


def test_there_is_something_to_read() -> None:
    assert {name: len(modules(name)) > 1 for name in PACKAGES} == dict.fromkeys(PACKAGES, True)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_what_it_must_not(package: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): bad
        for name, path in modules(package).items()
        if (bad := tops(path, parent(name, path)) & FORBIDDEN[package])
    }
    assert not wrong


def test_the_sdk_needs_numpy_opencv_and_openvino_only() -> None:
    wrong = {}
    for name, path in modules("boir_sdk").items():
        extra = tops(path, parent(name, path)) - SDK_CORE - sys.stdlib_module_names
        extra = {top for top in extra if (path.name, top) not in SDK_OPTIONAL}
        if extra:
            wrong[name] = extra
    assert not wrong


def test_openvino_has_one_seam() -> None:
    users = {path.name for path in modules("boir_sdk").values() if "openvino" in tops(path)}
    assert users <= OPENVINO_SEAMS


@pytest.mark.parametrize("demo", sorted((ROOT / "demos").glob("*.py")), ids=lambda path: path.name)
def test_demos_use_the_public_sdk_only(demo: Path) -> None:
    assert not tops(demo) - DEMO_MAY - sys.stdlib_module_names


def test_no_circle_at_module_level() -> None:
    files = {name: path for package in PACKAGES for name, path in modules(package).items()}
    edges = {
        name: {
            target
            for target in imported(path, package=parent(name, path), module_level=True)
            if target in files and target != name
        }
        for name, path in files.items()
    }
    # `from boir_sdk import warp` names the package as well, whose __init__ is loaded before any of its modules anyway.
    for name, targets in edges.items():
        above = {t for t in targets if name.startswith(f"{t}.") or any(other.startswith(f"{t}.") for other in targets)}
        targets -= above
    assert circle(edges) == []


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, or an empty list."""
    done: set[str] = set()

    def search(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(edges.get(name, ())):
            if found := search(target, [*trail, name]):
                return found
        done.add(name)
        return []

    for name in sorted(edges):
        if found := search(name, []):
            return found
    return []


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, ["a", "b", "a"]),
        ({"x": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_circle_finds_circles(edges: dict[str, set[str]], expected: list[str]) -> None:
    assert circle(edges) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn", {"torch"}),
        ("def f():\n    from torch import nn", {"torch"}),
        ("if True:\n    import nncf", {"nncf"}),
        ("from . import x", {"pkg"}),
    ],
)
def test_imports_are_seen_wherever_they_stand(tmp_path: Path, source: str, expected: set[str]) -> None:
    (tmp_path / "m.py").write_text(source)
    assert tops(tmp_path / "m.py", "pkg.sub") == expected


def test_import_boir_sdk_loads_nothing_heavy() -> None:
    code = "import sys, boir_sdk; print(sorted({'numpy', 'cv2', 'openvino', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=IN_TREE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_an_unknown_one_is_not() -> None:
    import boir_sdk

    for name in boir_sdk.__all__:
        assert getattr(boir_sdk, name) is not None
        assert name in dir(boir_sdk)
    with pytest.raises(AttributeError, match="no attribute 'Estimator'"):
        boir_sdk.Estimator  # noqa: B018
