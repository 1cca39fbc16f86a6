"""The API reference has every public name, and every name in it says what goes in, what comes out and what can fail."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from types import FunctionType
from typing import Any

import pytest

import boir_sdk
import boir_sdk.errors
import boir_sdk.preview
import boir_sdk.stream
import boir_sdk.stream.sink
import boir_train
from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs" / "api").glob("*.rst"))
SECTIONS = ("Args", "Returns", "Yields", "Raises", "Attributes", "Example")
# Whoever calls these has made a mistake in the program; nothing to plan for.
NOT_TOLD = {"IndexError", "AttributeError", "AssertionError", "StopIteration", "OSError"}


def documented() -> list[tuple[str, str]]:
    """Kind and dotted name of everything that the pages of the reference take in."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return re.findall(r"^\.\. auto(class|exception|function|data):: (\S+)$", text, flags=re.MULTILINE)


def find(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


def sections(docstring: str) -> dict[str, str]:
    """A Google docstring by its sections; what comes before them is under the empty name."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(section: str) -> set[str]:
    """The names that a section has lines for."""
    return set(re.findall(r"^ {4}\*{0,2}(\w+): ", section, flags=re.MULTILINE))


def raised(function: Callable[..., Any]) -> set[str]:
    """The errors that a function's own lines raise by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    } - NOT_TOLD


def lacking(function: Callable[..., Any], docstring: str | None) -> list[str]:
    """What the docstring of a function should say and doesn't."""
    if not docstring:
        return ["a docstring"]
    told = sections(docstring)
    signature = inspect.signature(function)
    arguments = {name for name in signature.parameters if name not in ("self", "cls")}
    missing = sorted(arguments - entries(told.get("Args", "")))
    lacks = [f"Args: {', '.join(missing)}"] if missing else []
    extra = sorted(entries(told.get("Args", "")) - arguments)
    lacks += [f"no such argument: {', '.join(extra)}"] if extra else []
    gives = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    said = told.get("Returns") or told.get("Yields") or re.match(r"(Return|Make|Whether) ", told[""])
    lacks += ["Returns"] if gives and not said else []
    silent = sorted(raised(function) - entries(told.get("Raises", "")))
    return lacks + ([f"Raises: {', '.join(silent)}"] if silent else [])


def parts(kind: str, dotted: str) -> Iterator[tuple[str, list[str]]]:
    """A documented thing and what belongs to it, each with what its docstring lacks."""
    thing = find(dotted)
    if kind == "data":
        return
    if kind == "function":
        yield dotted, lacking(inspect.unwrap(thing), thing.__doc__)
        return
    told = sections(thing.__doc__ or "")
    yield dotted, [] if told[""].strip() else ["a docstring"]
    if dataclasses.is_dataclass(thing):
        fields = {field.name for field in dataclasses.fields(thing)}
        missing = sorted(fields - entries(told.get("Attributes", "")))
        yield dotted, [f"Attributes: {', '.join(missing)}"] if missing else []
    for name, member in vars(thing).items():
        if isinstance(member, property):
            yield f"{dotted}.{name}", [] if (member.__doc__ or "").strip() else ["a docstring"]
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(function, FunctionType) and (not name.startswith("_") or name in ("__call__", "__init__")):
            # The fields of a dataclass, and an error's code, are told of in the docstring of the class.
            by_class = name == "__init__" and (dataclasses.is_dataclass(thing) or issubclass(thing, Exception))
            if not by_class and not (name == "__init__" and getattr(thing, "_is_protocol", False)):
                yield f"{dotted}.{name}", lacking(function, function.__doc__)


def test_every_public_name_is_in_the_reference() -> None:
    told = [name for _, name in documented()]
    assert len(told) == len(set(told))
    for package in (boir_sdk, boir_sdk.stream, boir_sdk.stream.sink, boir_sdk.preview, boir_train):
        missing = {name for name in package.__all__ if all(find(d) is not getattr(package, name) for d in told)}
        assert not missing, package.__name__
    errors = {error for error in vars(boir_sdk.errors).values() if isinstance(error, type)}
    assert {error.__name__ for error in errors} <= {name.rpartition(".")[2] for name in told}


@pytest.mark.parametrize(("kind", "dotted"), documented(), ids=lambda value: value)
def test_a_docstring_says_what_goes_in_what_comes_out_and_what_can_fail(kind: str, dotted: str) -> None:
    lacks = {name: missing for name, missing in parts(kind, dotted) if missing}
    assert not lacks, "\n".join(f"{name}: {'; '.join(missing)}" for name, missing in lacks.items())


def test_what_is_missing_is_seen() -> None:
    def silent(size: int) -> int:
        """Do something.

        Args:
            width: no such argument.
        """
        if size < 0:
            raise ValueError("below 0")
        return size

    assert lacking(silent, silent.__doc__) == [
        "Args: size",
        "no such argument: width",
        "Returns",
        "Raises: ValueError",
    ]
    assert lacking(silent, None) == ["a docstring"]


@pytest.mark.parametrize(("kind", "dotted"), documented(), ids=lambda value: value)
def test_the_examples_of_a_docstring_run(kind: str, dotted: str) -> None:
    thing = find(dotted)
    if kind == "data" or ">>>" not in (thing.__doc__ or ""):
        return
    parsed = doctest.DocTestParser().get_doctest(
        thing.__doc__, dict(vars(inspect.getmodule(thing))), dotted, None, None
    )
    told: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(parsed, out=told.append)
    assert outcome.failed == 0, "".join(told)
