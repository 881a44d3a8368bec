"""Opening a sound card through ALSA: in the best format that it has, or in one line why not and what to do."""

from __future__ import annotations

import ctypes
import errno
import functools
import logging
import os
from types import ModuleType
from typing import Any

from device.core.errors import AudioError
from device.core.pcm import SampleFormat

_log = logging.getLogger(__name__)

# ALSA's names of the formats that can be played, the best first.
FORMATS: dict[str, SampleFormat] = {
    "S32_LE": "int32",
    "S24_3LE": "int24",
    "S24_LE": "int24in32",
    "S16_LE": "int16",
    "FLOAT_LE": "float32",
}


def list_cards(alsa: ModuleType | Any = None) -> list[str]:
    """Names of the sound cards that are plugged in, as `AlsaOutput` takes them ("hw:CARD=Device")."""
    alsa = load_alsa() if alsa is None else alsa
    return [f"hw:CARD={name}" for name in alsa.cards()]


def open_pcm(
    alsa: ModuleType | Any,
    name: str,
    rate_hz: int,
    period: int,
    n_periods: int,
    channels: int,
    *,
    is_input: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """Open a card in the best format that it offers.

    Parameters
    ----------
    alsa : module
        pyalsaaudio, or what stands in for it.
    name : str
        ALSA's name of the card.
    rate_hz, period, n_periods, channels : int
        As in `AlsaOutput`.
    is_input : bool
        Open its input, which never waits and may run at another rate.

    Returns
    -------
    pcm : alsaaudio.PCM
    info : dict
        What it really has, as `PCM.info` says.

    Raises
    ------
    AudioError
        The card is missing, busy, runs at another rate or in no format that is known here.
    """
    wanted = next(iter(FORMATS))
    for _ in range(2):
        pcm = _pcm_in(alsa, name, wanted, rate_hz, period, n_periods, channels, is_input=is_input)
        info = pcm.info()
        try:
            if not is_input:
                _check_rate(name, pcm, info, rate_hz)
            if info["format_name"] == wanted:
                return pcm, info
            offered = pcm.getformats()
            wanted = next((each for each in FORMATS if each in offered), "")
            if not wanted:
                raise AudioError(f"sound card {name!r} offers none of {', '.join(FORMATS)}: use {_converting(name)!r}")
            if info["format_name"] == wanted:
                return pcm, info
        except BaseException:
            pcm.close()
            raise
        pcm.close()
    raise AudioError(f"sound card {name!r} does not keep to {wanted}: use {_converting(name)!r}")


def load_alsa() -> ModuleType:
    """Import pyalsaaudio and send what alsa-lib prints to the debug log.

    Raises
    ------
    AudioError
        It is not installed.
    """
    try:
        import alsaaudio
    except ImportError as error:
        raise AudioError(
            "a sound card needs pyalsaaudio: apt-get install gcc python3-dev libasound2-dev, "
            "then pip install -r requirements-device.txt"
        ) from error
    _hush()
    return alsaaudio  # type: ignore[no-any-return]


def _pcm_in(
    alsa: Any, name: str, format_name: str, rate_hz: int, period: int, n_periods: int, channels: int, *, is_input: bool
) -> Any:
    try:
        return alsa.PCM(
            type=alsa.PCM_CAPTURE if is_input else alsa.PCM_PLAYBACK,
            mode=alsa.PCM_NONBLOCK if is_input else alsa.PCM_NORMAL,
            device=name,
            rate=rate_hz,
            channels=channels,
            format=getattr(alsa, f"PCM_FORMAT_{format_name}"),
            periodsize=period,
            periods=n_periods,
        )
    except alsa.ALSAAudioError as error:
        raise AudioError(_refusal(alsa, name, str(error))) from error


def _refusal(alsa: Any, name: str, reason: str) -> str:
    """Say why the card could not be opened and what can be done."""
    cards = list_cards(alsa)
    there = f"there {'is' if len(cards) == 1 else 'are'} {', '.join(cards)}" if cards else "no card is plugged in"
    if os.strerror(errno.EBUSY) in reason:
        return f"sound card {name!r} is busy: stop the program that uses it, or choose another; {there}"
    if os.strerror(errno.EACCES) in reason:
        return f"sound card {name!r} may not be used: add this user to the group audio"
    if any(os.strerror(code) in reason for code in (errno.ENOENT, errno.ENODEV, errno.ENXIO)):
        return f"there is no sound card {name!r}: plug it in or choose another; {there}"
    return f"sound card {name!r} cannot be used ({reason}): choose another; {there}"


def _check_rate(name: str, pcm: Any, info: dict[str, Any], rate_hz: int) -> None:
    if info["rate"] != rate_hz:
        raise AudioError(
            f"sound card {name!r} does not run at {rate_hz} Hz, only at {_rates(pcm.getrates())}: "
            f"choose another card, or let ALSA convert with {_converting(name)!r}"
        )


def _converting(name: str) -> str:
    """Name of the same card with ALSA's conversions before it."""
    return f"plug{name}" if name.startswith("hw:") else f"plug:{name}"


def _rates(rates: int | tuple[int, int] | list[int]) -> str:
    if isinstance(rates, int):
        return f"{rates} Hz"
    if isinstance(rates, tuple):
        return f"{rates[0]} to {rates[1]} Hz"
    return f"{', '.join(str(rate) for rate in rates)} Hz"


@functools.cache
def _hush() -> object:
    """Send what alsa-lib prints on standard error to the debug log; our own error says it in one line.

    The handler is returned so that it lives as long as the process.
    """
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)

    # C passes more arguments after these; they are not looked at.
    def note(_file: bytes, _line: int, function: bytes, code: int, text: bytes) -> None:
        _log.debug("alsa-lib: %s: %s (%d)", function, text, code)

    handler = kind(note)
    try:
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(handler)
    except (OSError, AttributeError) as error:
        _log.debug("alsa-lib keeps its own messages: %s", error)
    return handler
