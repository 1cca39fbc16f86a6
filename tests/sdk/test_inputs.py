"""Files, folders, patterns and shards -> pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boir_sdk.errors import InputError
from boir_sdk.inputs import Source, find, parse_shard, shard

TREE = [
    "b.jpg",
    "a.PNG",
    "notes.txt",
    ".hidden.jpg",
    "sub/c.webp",
    "sub/deep/d.tiff",
    ".git/e.jpg",
    "odd[1].jpg",
    "raw.dat",
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in TREE:
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "recursive", "expected"),
    [
        (["t"], False, ["t/a.PNG", "t/b.jpg", "t/odd[1].jpg"]),
        (["t"], True, ["t/a.PNG", "t/b.jpg", "t/odd[1].jpg", "t/sub/c.webp", "t/sub/deep/d.tiff"]),
        (["t/b.jpg", "t"], False, ["t/b.jpg", "t/a.PNG", "t/odd[1].jpg"]),
        (["t/b.jpg", "./t/b.jpg", "t/sub/../b.jpg"], False, ["t/b.jpg"]),
        (["t/raw.dat"], False, ["t/raw.dat"]),
        (["t/odd[1].jpg"], False, ["t/odd[1].jpg"]),
        (["t/*"], False, ["t/a.PNG", "t/b.jpg", "t/odd[1].jpg"]),
        (["t/*/*.webp"], False, ["t/sub/c.webp"]),
        (["t/**/*.tiff"], False, ["t/sub/deep/d.tiff"]),
    ],
)
def test_find(tree: Path, arguments: list[str], recursive: bool, expected: list[str]) -> None:
    sources = find(arguments, recursive=recursive)
    assert [source.path.as_posix() for source in sources] == expected
    assert [source.number for source in sources] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize(
    ("argument", "relative"),
    [("t/sub/c.webp", "c.webp"), ("t/*/c.webp", "sub/c.webp"), ("t/sub/*.webp", "c.webp"), ("t/sub", "c.webp")],
)
def test_relative_names_keep_what_the_argument_left_open(tree: Path, argument: str, relative: str) -> None:
    assert [source.relative.as_posix() for source in find([argument])] == [relative]


def test_absolute_pattern(tree: Path) -> None:
    (source,) = find([f"{tree}/t/su*/c.webp"])
    assert (source.path, source.relative) == (tree / "t/sub/c.webp", Path("sub/c.webp"))


def test_a_link_to_a_parent_folder_makes_no_endless_walk(tree: Path) -> None:
    (tree / "t" / "sub" / "loop").symlink_to(tree / "t", target_is_directory=True)
    assert len(find(["t"], recursive=True)) == 5


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nothing.jpg", "nothing.jpg doesn't exist"),
        ("empty", "no picture in the folder empty .--recursive"),
        ("t/*.bmp", "no picture matches the pattern t/"),
        ("t/*.txt", "no picture matches the pattern t/"),
    ],
)
def test_find_says_what_is_missing(tree: Path, argument: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find([argument])


@pytest.mark.parametrize(("text", "part"), [("1/1", (1, 1)), ("3/8", (3, 8)), ("08/8", (8, 8))])
def test_parse_shard(text: str, part: tuple[int, int]) -> None:
    assert parse_shard(text) == part


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", "1.5/2", "1 /2"])
def test_parse_shard_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="a shard is i/n"):
        parse_shard(text)


@given(total=st.integers(0, 60), count=st.integers(1, 12))
def test_shards_cover_everything_once_and_evenly(total: int, count: int) -> None:
    sources = [Source(Path(f"{i}.jpg"), Path(f"{i}.jpg"), i + 1) for i in range(total)]
    parts = [shard(sources, (i, count)) for i in range(1, count + 1)]
    assert sorted((s for part in parts for s in part), key=lambda s: s.number) == sources
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
