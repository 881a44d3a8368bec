"""Errors between the workstation and a box."""

from __future__ import annotations

from device.core.errors import DanceSamplerError


class BoxError(DanceSamplerError, RuntimeError):
    """A box cannot be reached, refuses, or answers what is no answer."""


class InterruptedWorkError(DanceSamplerError, RuntimeError):
    """The user ended the work; what is done stays."""

    exit_code = 130


class CutError(BoxError):
    """The connection ended before the box had answered; what it has already it keeps."""
