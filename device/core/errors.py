"""Errors of the dance sampler: each says what was wrong, then what to do, in one line.

Raised where the fault is known, shown once by the command line. Every class is also a builtin, so that code
that knows nothing of ours can catch it.
"""

from __future__ import annotations


class DanceSamplerError(Exception):
    """Base of all our errors; the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(DanceSamplerError, ValueError):
    """The command was used wrongly."""

    exit_code = 2


class ConfigError(DanceSamplerError, ValueError):
    """The configuration holds something that cannot be used."""

    exit_code = 2


class CameraError(DanceSamplerError, OSError):
    """A camera, or a video that stands in for one, cannot give frames."""


class AudioError(DanceSamplerError, OSError):
    """A sound card or sound file cannot be used."""


class PanelError(DanceSamplerError, OSError):
    """The button or the LED cannot be used."""


class ModelError(DanceSamplerError, RuntimeError):
    """A model cannot be loaded or gave something that is not a spectrum."""


class BundleError(DanceSamplerError, ValueError):
    """A bundle is not whole, not ours, or does not fit this program."""


class TakeError(DanceSamplerError, ValueError):
    """A take is not whole, or cannot be written."""


class ServiceError(DanceSamplerError, RuntimeError):
    """The system's service manager cannot be used as it must."""


class TrainingError(DanceSamplerError, RuntimeError):
    """Training cannot start, go on or be trusted."""
