"""The text of a configuration as plain values: what a hostile or damaged YAML file can do ends here."""

from __future__ import annotations

import math
import reprlib
from pathlib import Path
from typing import Any

import yaml

from boir_sdk.errors import ConfigError

# The time that PyYAML takes grows with length times depth: within these it stays at seconds.
MAX_BYTES = 1 << 16
MAX_DEPTH = 20
MAX_INT = 2**31 - 1

_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 120

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write numbers of thousands of digits."""
        return repr(x) if x.bit_length() < 400 else f"a number of {x.bit_length()} bits"


_SHORT = _Short()


def is_file(name: str) -> bool:
    """Tell whether a name is that of a file; one that no file can have isn't."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def read(path: Path) -> str:
    """Read the text of a configuration file.

    Raises:
        ConfigError: it can't be read, is no UTF-8, or has more than `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} is over the limit of {MAX_BYTES} bytes: it is no configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} isn't YAML, it isn't even text: {error}") from error


def parse(text: str, what: str) -> Any:
    """Read YAML without aliases: a few lines of them can stand for more values than there is memory.

    Args:
        text: YAML.
        what: how to call it in errors.

    Raises:
        ConfigError: it isn't YAML, makes other things than plain values, has an alias, or is long or nested beyond what
            a configuration can be.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{what} is over the limit of {MAX_BYTES} characters: it is no configuration")
    try:
        depth = 0
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken):
                raise ConfigError(f"{what} has an alias (*name): write the values out")
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if depth > MAX_DEPTH:
                raise ConfigError(f"{what} is nested more than {MAX_DEPTH} deep: it is no configuration")
        return yaml.safe_load(text)
    except ConfigError:
        raise
    except Exception as error:  # PyYAML makes dates, numbers and truth values with whatever errors they end in
        raise ConfigError(f"{what} isn't YAML: {str(error)[:500] or type(error).__name__}") from error


def scalar(kind: type, value: Any, where: str) -> Any:
    """Return a value as text, whole number, finite number or truth value.

    Args:
        kind: str, int, float or bool.
        value: as YAML gave it.
        where: the key, for errors.

    Raises:
        ConfigError: it is of another kind, or out of every range.
    """
    if kind is float and not isinstance(value, bool):
        try:
            number = float(value)  # YAML 1.1 reads 1e-4 as text
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
        raise ConfigError(f"{where} must be of type float and finite, not {shown(value)}")
    if type(value) is not kind:
        raise ConfigError(f"{where} must be of type {kind.__name__}, not {shown(value)}")
    if isinstance(value, int) and abs(value) > MAX_INT:
        raise ConfigError(f"{where} must be a number of at most {MAX_INT}, not {shown(value)}")
    if isinstance(value, str) and not value.isprintable():
        raise ConfigError(f"{where} must be plain text, not {shown(value)}")
    return value


def shown(value: object) -> str:
    """Return a value for a message, never longer than a few lines."""
    return _SHORT.repr(value)
