"""Errors a user of boir-sdk can cause.

All derive directly from `BoirError` and carry a short machine-readable `code`; the message says what is wrong, where,
and what to do.
"""

from __future__ import annotations


class BoirError(Exception):
    """Base of every error that boir-sdk raises on purpose.

    Attributes:
        code: short stable word for programs (`input`, `bundle`, ...); the message is for people.
    """

    code = "boir"


class InputError(BoirError):
    """An argument, picture or file given by the caller can't be used."""

    code = "input"


class BundleError(BoirError):
    """A model bundle is missing, damaged, unknown or unsafe."""

    code = "bundle"


class InferenceError(BoirError):
    """The device isn't there, a model doesn't compile on it, or no request became free in time."""

    code = "inference"


class InstallError(BoirError, ImportError):
    """A package or a library of the system that is needed isn't installed, or can't be loaded."""

    code = "install"


class CheckpointError(BoirError):
    """A file of weights can't be read or doesn't fit the model."""

    code = "checkpoint"


class ConfigError(BoirError):
    """A preset, option or configuration key is unknown or contradicts another."""

    code = "config"


class DataError(BoirError):
    """A data set, annotation file or result file is missing or malformed."""

    code = "data"
