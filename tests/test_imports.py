"""Imports point one way, form no circle, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import os
import re
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
SDK_OPTIONAL = {("interchange.py", "supervision"), ("model_api.py", "model_api")}
OPENVINO_SEAM = "quiet_openvino.py"
OPENVINO_USERS = {"runtime.py", "lanes.py", "yardstick.py", "doctor.py", "dilated.py", "static_graph.py"}
IN_TREE = {**os.environ, "PYTHONPATH": str(ROOT / "sdk")}
DEMO_MAY = {"boir_sdk", "numpy", "cv2"}


def imported(path: Path, *, package: str = "", module_level: bool = False) -> set[str]:
    """Dotted names a file imports; with `module_level`, only what runs when the module is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
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
    assert users == {OPENVINO_SEAM}
    seam = {path.name for path in modules("boir_sdk").values() if "boir_sdk.quiet_openvino" in imported(path)}
    assert seam == OPENVINO_USERS


def test_openvino_is_never_imported_so_that_it_reports_home() -> None:
    for package in ("boir_train", "boir_convert"):
        for path in modules(package).values():
            assert "openvino" not in imported(path), f"{path}: take `ov` from boir_sdk.quiet_openvino"
            inside = imported(path, package=parent("", path), module_level=True)
            assert not any(name.startswith("openvino.") for name in inside), f"{path}: import it in a function"


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


DRAWING = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def drawn(line: str) -> set[tuple[str, str]]:
    """The arrows of a drawn line, from who imports to what is imported: `a ---> b <--- c` has (a, b) and (c, b)."""
    arrows = set()
    words = re.findall(r"\w+|-+>|<-+", line)
    for left, arrow, right in zip(words[::2], words[1::2], words[2::2], strict=False):
        arrows.add((left, right) if arrow.endswith(">") else (right, left))
    return arrows


def reachable(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows and those that follow from them: what a package imports, it may import through another too."""
    while more := {(a, d) for a, b in arrows for c, d in arrows if b == c} - arrows:
        arrows = arrows | more
    return arrows


def test_the_drawing_of_the_architecture_has_the_imports_that_are_there() -> None:
    (line,) = re.findall(r"^ *imports: +(.+)$", DRAWING, flags=re.MULTILINE)
    files = {package: [*modules(package).items()] for package in PACKAGES}
    files["demos"] = [(path.stem, path) for path in sorted((ROOT / "demos").glob("*.py"))]
    real = {
        (package, target)
        for package, members in files.items()
        for name, path in members
        for target in tops(path, parent(name, path)) & {*files} - {package}
    }
    assert reachable(drawn(line)) == reachable(real)


def test_arrows_are_read_in_both_directions() -> None:
    assert drawn("a  --->  b  --->  c  <---  d") == {("a", "b"), ("b", "c"), ("d", "c")}
    assert reachable({("a", "b"), ("b", "c"), ("d", "c")}) == {("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")}


def named(section: str) -> list[str]:
    """The files that a table of "What stands where" names, relative to its package, one entry a naming.

    A file is named in the first column, or in the second of a row whose first is a folder. A name without a folder
    lies in that of the name before it.
    """
    found = []
    for row in re.findall(r"^\| (`.+?) \| (.+) \|$", section, flags=re.MULTILINE):
        first = re.findall(r"`([\w/]+(?:\.py|/))`", row[0])
        folder = ""
        for name in first + (re.findall(r"`([\w/]+\.py)`", row[1]) if any(f.endswith("/") for f in first) else []):
            folder = name.rpartition("/")[0] + "/" if "/" in name else folder
            if not name.endswith("/"):
                found.append(name if "/" in name else folder + name)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_is_named_once_in_the_architecture(package: str) -> None:
    heading = re.escape(str(PACKAGES[package].relative_to(ROOT)))
    (section,) = re.findall(rf"^### `{heading}`.*?\n(.*?)(?=^##|\Z)", DRAWING, flags=re.MULTILINE | re.DOTALL)
    told = named(section)
    there = {str(path.relative_to(PACKAGES[package])) for path in modules(package).values()}
    missing = {name for name in there - {*told} if not name.endswith("__init__.py")}
    assert missing == set(), "name them in a table of ARCHITECTURE.md, under 'What stands where'"
    assert {*told} - there == set(), "ARCHITECTURE.md names files that aren't there"
    assert sorted(told) == sorted({*told}), "ARCHITECTURE.md names a file twice"


def test_names_in_tables_are_read() -> None:
    table = "| `a.py`, `x/b.py`, `c.py` | not `d.py` |\n| `y/` | `e.py` (what), `f.py` |\n"
    assert named(table) == ["a.py", "x/b.py", "x/c.py", "y/e.py", "y/f.py"]
