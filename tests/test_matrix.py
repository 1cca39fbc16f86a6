"""The install matrix's own arithmetic; the matrix itself downloads much and is `make matrix`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from matrix import cells, packages, pythons
from matrix.__main__ import compare, wanted
from matrix.cells import Cell

from tests.conftest import ROOT

NEEDS = [
    'numpy>=2.0; python_version < "3.13"',
    'numpy>=2.1; python_version >= "3.13"',
    "opencv-python>=4.12.0.88",
    'torch>=2.10; extra == "train"',
]


@pytest.mark.parametrize(
    ("python", "expected"),
    [("3.10", ["numpy==2.0", "opencv-python==4.12.0.88"]), ("3.13", ["numpy==2.1", "opencv-python==4.12.0.88"])],
)
def test_lowest_versions_of_the_core(python: str, expected: list[str]) -> None:
    assert packages.lowest(NEEDS, python) == expected


def test_a_requirement_without_a_lower_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="numpy<3 has no lower bound"):
        packages.lowest(["numpy<3"], "3.12")


def test_this_python_is_found_and_an_unknown_one_is_not() -> None:
    found = pythons.find(".".join(map(str, sys.version_info[:2])))
    assert found is not None and found.is_file()
    assert pythons.find("3.99") is None


def test_the_cells_of_the_table() -> None:
    everything = list(wanted(None, None, lowest=False))
    assert len(everything) == len(set(everything)) == len(pythons.VERSIONS) * (4 + len(cells.EXTRAS) - 1)
    assert list(wanted(["3.12"], None, lowest=True)) == [Cell("3.12", "core", "lowest")]
    assert list(wanted(["3.11"], ["train"], lowest=False)) == [Cell("3.11", "train", "newest")]


def test_a_python_that_is_not_here_is_said(tmp_path: Path) -> None:
    built = packages.Built(tmp_path, tmp_path, tmp_path, tmp_path)
    outcome = cells.run(Cell("3.12", "core", "newest"), None, built, tmp_path, tests=False)
    assert (outcome.status, outcome.why) == ("not tried", "no Python 3.12 on this machine")


def test_the_light_tests_and_the_pinned_torch_exist() -> None:
    assert all((ROOT / name).is_file() for name in cells.LIGHT_TESTS)
    assert cells.torch_pin().startswith("torch==")


def test_checkout_and_source_distribution_give_the_same_wheel(tmp_path: Path) -> None:
    built = packages.build(tmp_path)
    assert compare(built) == []
    names = packages.sdist_names(built.sdist)
    assert {"pyproject.toml", "Makefile", "constraints.txt", "demos/people.jpg", "interop/requirements.txt"} <= names
    assert {name.partition("/")[0] for name in names} >= {"sdk", "train", "convert", "tests", "matrix", "docs"}
    assert not [name for name in names if name.startswith(("runs/", "out/")) or "__pycache__" in name]
    pins = {python: packages.lowest(packages.requirements(built.wheel), python) for python in pythons.VERSIONS}
    assert all(len(chosen) == 3 for chosen in pins.values())
