"""Configurations, overrides and manifests of any content: checked data or a typed error, in bounded time and words."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress

import pytest
from fuzz.settings import sealed
from hypothesis import given, settings
from hypothesis import strategies as st

from boir_sdk import manifest
from boir_sdk.errors import BundleError, ConfigError
from boir_train import config
from boir_train.config_text import MAX_BYTES
from tests.conftest import ROOT
from tests.sdk.test_manifest import GOOD

TEXTS = {
    "NUL": (b"\0", "isn't YAML"),
    "not text": (b"\xff\xfe\xfa", "isn't even text"),
    "empty": (b"", "must hold sections"),
    "a list": (b"[1]", "must hold sections"),
    "deep lists": (b"optim: " + b"[" * 5000, "nested more than 20 deep"),
    "deep mappings": (b"{a: " * 3000, "nested more than 20 deep"),
    "long": (b"# " + b"x" * MAX_BYTES, "over the limit of 65536 bytes"),
    "a day that isn't": (b"optim: {lr: 2001-99-99}", "isn't YAML"),
    "a truth that isn't": (b"train: {sync_bn: !!bool foo}", "isn't YAML"),
    "a number that isn't": (b"train: {seed: !!int ''}", "isn't YAML"),
    "a date that isn't": (b"train: {seed: !!timestamp foo}", "isn't YAML"),
    "5000 digits": (b"train: {seed: " + b"1" * 5000 + b"}", "isn't YAML|train.seed"),
    "5000 hexadecimal digits": (b"optim: {lr: 0x" + b"f" * 5000 + b"}", "optim.lr must be of type float and finite"),
    "a number without end": (b"optim: {clip: .inf}", "optim.clip must be of type float and finite"),
    "not a number": (b"optim: {lr: .nan}", "optim.lr must be of type float and finite"),
    "a Python call": (b"model: !!python/object/apply:os.mkdir ['%s']", "isn't YAML"),
    "aliases": (b"a: &a [1]\nb: *a\n", "has an alias"),
    "a list as key": (b"? [a]\n: 1", "isn't YAML"),
    "unknown section": (b"nothing: 1", "unknown configuration key 'nothing'"),
    "unknown key": (b"optim: {lrr: 1}", r"unknown configuration key 'optim\.lrr' \(did you mean 'lr'\?\)"),
    "negative": (b"data: {workers: -1}", "data.workers must not be negative"),
    "beyond a whole number": (b"train: {seed: 3000000000}", "train.seed must be a number of at most"),
    "NUL in a path": (b'data: {root: "a\\0b"}', "data.root must be plain text"),
    "steering a terminal": (b'data: {root: "\\e[2J"}', "data.root must be plain text"),
    "a long text": (b"model: {skeleton: " + b"x" * 5000 + b"}", "model.skeleton must be one of"),
    "a long list": (b"data: {root: [" + b"1," * 2000 + b"]}", "data.root must be of type str"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_configuration_that_is_none(case, tmp_path):
    data, says = TEXTS[case]
    path, canary = tmp_path / "run.yaml", tmp_path / "executed"
    path.write_bytes(data.replace(b"%s", str(canary).encode()))
    with pytest.raises(ConfigError, match=says) as caught:
        config.load(str(path))
    assert len(str(caught.value)) < 1500 and "\x1b" not in str(caught.value)
    assert not canary.exists()


def test_aliases_that_stand_for_more_than_there_is_memory(tmp_path):
    path = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="alias"):
        config.load(str(path))


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", ".", "/dev/zero", "coco_w32.yaml.yaml"])
def test_a_name_that_is_no_configuration(name):
    with pytest.raises(ConfigError, match="no configuration") as caught:
        config.load(name)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", config.names())
def test_what_is_written_reads_back(name, tmp_path):
    """No alias is ever written, and nothing of ours is over a limit."""
    made = config.load(name)
    config.dump(made, tmp_path / "run.yaml")
    assert config.load(str(tmp_path / "run.yaml")) == made


def test_a_user_sees_no_traceback(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe")
    run = f"main(['fit', '--config', {str(path)!r}, '--out', 'x'])"
    code = f"import sys; from boir_train.cli.main import main; sys.exit({run})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{ROOT / 'sdk'}:{ROOT / 'train'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "isn't even text" in done.stderr and "Traceback" not in done.stderr


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["auto", "coco", "1e-4", "on", 10**400, -(10**400), float("nan"), "\ud800", "a\0"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = config.as_dict(config.load("coco_w32"))
KEYS = sorted((section, key) for section in SECTIONS for key in SECTIONS[section])


@settings(max_examples=150, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(KEYS), TREES), min_size=1, max_size=3))
def test_any_value_of_any_key_is_checked(changes):
    tree = {section: dict(keys) for section, keys in SECTIONS.items()}
    for (section, key), value in changes:
        tree[section][key] = value
    try:
        made = config.parse(tree)
    except ConfigError as error:
        assert len(str(error)) < 1500
    else:
        assert config.parse(config.as_dict(made)) == made


@settings(max_examples=100, derandomize=True)
@given(TREES)
def test_any_tree_is_no_configuration_or_one(tree):
    with suppress(ConfigError):
        config.parse(tree)


MANIFEST = json.loads(manifest.dump(GOOD))


@settings(max_examples=150, derandomize=True)
@given(st.dictionaries(st.sampled_from(sorted(MANIFEST)) | st.text(max_size=6), TREES, min_size=1, max_size=3))
def test_any_manifest_with_a_fitting_digest_is_checked(changes):
    try:
        data = sealed({**MANIFEST, **changes})
    except ValueError:
        return  # what JSON can't say
    try:
        made = manifest.load(data, "manifest.json")
    except BundleError as error:
        assert len(str(error)) < 1500 and "manifest.json" in str(error)
    else:
        assert manifest.load(manifest.dump(made), "again") == made


@settings(max_examples=200, derandomize=True)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | TREES.map(lambda tree: json.dumps(str(tree)).encode())
)
def test_any_bytes_are_no_manifest(data):
    with pytest.raises(BundleError):
        manifest.load(data, "manifest.json")
