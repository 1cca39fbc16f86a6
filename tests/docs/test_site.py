"""The site builds without a warning, holds every page, has no broken link, and loads nothing from other hosts."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.links import broken, read

MISSING = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]
PAGE = '<h1 id="top">x</h1><a href="{}">x</a><img src="{}">'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if MISSING:
        pytest.skip(f"needs {', '.join(MISSING)}: pip install -e '.[docs]' (Python 3.11 or newer)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    built = subprocess.run(
        [*command, "-d", str(folder / "trees"), str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


def test_every_page_is_in_the_site(site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    sources |= {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.rst")}
    pages = {path.relative_to(site) for path in site.rglob("*.html")}
    assert sources <= pages
    linked = {link.partition("#")[0] for link in read(site / "index.html").follows}
    assert {str(page) for page in sources if len(page.parts) == 1} - {"index.html"} <= linked


def test_no_link_is_broken_and_nothing_comes_from_other_hosts(site: Path) -> None:
    assert broken(site) == []


def test_public_names_have_a_place(site: Path) -> None:
    anchors = read(site / "api" / "estimator.html").anchors | read(site / "api" / "streaming.html").anchors
    assert {"boir_sdk.PoseEstimator", "boir_sdk.PoseEstimator.stream", "boir_sdk.StreamResult"} <= anchors


@pytest.mark.parametrize(
    ("link", "picture", "problem"),
    [
        ("#top", "x.png", ""),
        ("a.html#top", "data:image/png;base64,xx", ""),
        ("https://example.org/", "x.png", ""),
        ("b.html", "x.png", "b.html leads nowhere"),
        ("#bottom", "x.png", "#bottom: no such anchor"),
        ("#top", "y.png", "y.png leads nowhere"),
        ("#top", "https://example.org/x.png", "loads https://example.org/x.png from another host"),
        ("/a.html", "x.png", "/a.html starts at the root"),
    ],
)
def test_broken_links_are_seen(link: str, picture: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE.format(link, picture))
    (tmp_path / "x.png").write_bytes(b"")
    found = broken(tmp_path)
    assert len(found) == bool(problem)
    assert all(problem in line for line in found)


def test_a_style_sheet_that_loads_a_font_from_elsewhere_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://example.org/font.woff2'); }")
    assert broken(tmp_path) == ["a.css: loads https://example.org/font.woff2 from another host"]


@pytest.mark.parametrize(
    "page",
    sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_between_files_of_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    here = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [target for target in here if target and not (page.parent / target).exists()] == []
