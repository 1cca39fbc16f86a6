"""docs/bundle.md says what the code does: every field with its range, every limit with its number."""

from __future__ import annotations

import dataclasses
import importlib
import re

import pytest

from boir_sdk import manifest
from boir_sdk.errors import BundleError
from boir_sdk.manifest import Manifest
from tests.conftest import ROOT
from tests.sdk.test_manifest import GOOD, resealed

PAGE = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")
FIELDS = dict(re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", PAGE, re.MULTILINE))
RANGES = dict(re.findall(r"^\| `(\w+)` \| [a-z ]+ \| (.*) \|$", PAGE, re.MULTILINE))
LIMITS = re.findall(r"^\| .* \| (\d+) \| `(\w+)\.(\w+)` \|$", PAGE, re.MULTILINE)
KINDS = {"str": "text", "int": "whole number", "float": "number", "Mapping": "object", "Literal": "text"}


def test_every_field_is_there_with_its_type():
    for field in dataclasses.fields(Manifest):
        kind = str(field.type)
        if kind.startswith("tuple"):
            expected = "texts" if "str" in kind else "whole numbers"
        else:
            expected = KINDS[kind.split("[")[0]]
        assert FIELDS.get(field.name) == expected, field.name
    assert FIELDS.keys() == {field.name for field in dataclasses.fields(Manifest)}


def test_every_limit_has_the_number_of_the_code():
    for number, module, name in LIMITS:
        assert getattr(importlib.import_module(f"boir_sdk.{module}"), name) == int(number), name
    named = {(module, name) for _, module, name in LIMITS}
    for module in ("manifest", "bundle", "selftest"):
        found = importlib.import_module(f"boir_sdk.{module}")
        assert {(module, name) for name in vars(found) if name.startswith("MAX_")} <= named


def spans():
    """Fields whose range the page gives as "A to B", with a value just inside and outside at both ends."""
    for name, text in RANGES.items():
        if span := re.search(r"(\d+) to (\d+)\b(?! characters)", text):
            low, high = int(span[1]), int(span[2])
            if FIELDS[name] == "number":
                yield from ((name, float(low), True), (name, float(high), True), (name, low - 0.001, False))
                yield (name, high + 0.001, False)
            elif FIELDS[name] == "whole number":
                step = 2 if "odd" in text else 1
                yield from ((name, low - step, False), (name, high, True), (name, high + step, False))
        if span := re.search(r"1 to (\d+) characters", text):
            yield from ((name, "x" * int(span[1]), True), (name, "x" * (int(span[1]) + 1), False), (name, "", False))


SPANS = list(spans())


def test_ranges_were_found_on_the_page():
    assert {"max_side", "max_people", "pool_kernel", "center_threshold", "name"} <= {name for name, *_ in SPANS}


@pytest.mark.parametrize(("name", "value", "inside"), SPANS, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(SPANS)])
def test_a_range_is_that_of_the_code(name, value, inside):
    data = resealed(**{name: value})
    if inside:
        assert getattr(manifest.load(data, "m"), name) == value
    else:
        with pytest.raises(BundleError, match=name):
            manifest.load(data, "m")


def test_the_choices_are_those_of_the_code():
    for name in ("skeleton", "fit_rule", "resample"):
        named = re.findall(r"`(\w+)`", RANGES[name].split(":")[0])
        assert len(named) == 2
        for value in named:
            assert getattr(manifest.load(resealed(**{name: value}), "m"), name) == value
    assert f"`format` (whole number, {manifest.FORMAT})" in PAGE
    assert GOOD.stride == 4 and RANGES["stride"].startswith("4;")
