"""The sound card, with a tone to hear, and the input, with its level."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from device.check.children import result_of
from device.check.verdict import GOOD, SKIPPED, WARNING, Context, Verdict
from device.config import AudioConfig, CaptureConfig
from device.core.level import to_dbfs
from device.engine.openers import check_input, open_card, open_input
from device.engine.process import Child, Part, run_part
from device.engine.realtime import Urgency, be_urgent, freeze_garbage
from device.setup.tone import tone

SPARE_S = 15.0
"""How much longer than the sound itself a card may take: it may sleep, and gives up by itself."""
TOO_FAST = 0.5
SILENT_DBFS, LOUD_DBFS = -70.0, -1.0


@dataclass(frozen=True)
class ToneSetup:
    """What the process that plays is given: how long, on what, how urgently."""

    audio: AudioConfig
    seconds: float
    urgency: Urgency


@dataclass(frozen=True)
class Played:
    """What became of the sound.

    Attributes
    ----------
    seconds, took_s : float
        Of the sound; that it took to hand it over.
    n_xruns, period, buffer : int
        Underruns; samples of a block, and that the card holds.
    sample_format : str
    """

    seconds: float
    took_s: float
    n_xruns: int
    period: int
    buffer: int
    sample_format: str


def check_sound(context: Context) -> Verdict:
    """Play a tone, then silence, and count underruns."""
    audio, engine = context.config.audio, context.config.engine
    setup = ToneSetup(audio, context.seconds, Urgency(engine.realtime_priority, engine.lock_memory))
    played = result_of(Child("sound card", _tone_main, setup), context.seconds + SPARE_S)
    delay_ms = 1000.0 * played.buffer / audio.rate_hz
    found = (
        f"{audio.device}: {played.sample_format} at {audio.rate_hz} Hz, {delay_ms:.1f} ms of buffer, "
        f"{played.n_xruns} underruns in {played.seconds:.0f} s; did you hear a tone?"
    )
    if played.took_s < TOO_FAST * played.seconds:
        remedy = "name a real card: audio.device = hw:CARD=...; python -m device setup lists them"
        return Verdict(
            "sound", WARNING, f"{audio.device} takes sound faster than it can be played", remedy, vars(played)
        )
    if played.n_xruns:
        remedy = "raise audio.n_periods or audio.period, or allow real-time priority"
        return Verdict("sound", WARNING, found, remedy, vars(played))
    return Verdict("sound", GOOD, found, figures=vars(played))


def _tone_main(part: Part, setup: ToneSetup) -> None:
    def body() -> None:
        be_urgent(setup.urgency)
        part.say("done", _play(setup))

    run_part("tone", part, body)


def _play(setup: ToneSetup) -> Played:
    audio = setup.audio
    with open_card(audio.device, audio.rate_hz, audio) as card:
        sound = np.zeros(round(setup.seconds * audio.rate_hz), np.float32)
        heard = tone(audio.rate_hz)[: len(sound)]
        sound[: len(heard)] = heard
        freeze_garbage()
        begin_s = time.monotonic()
        for start in range(0, len(sound), card.period):
            card.write(sound[start : start + card.period])
        took_s = time.monotonic() - begin_s
        sample_format = getattr(card, "sample_format", "")
        return Played(setup.seconds, round(took_s, 3), card.n_xruns, card.period, card.buffer, sample_format)


@dataclass(frozen=True)
class HearSetup:
    """What the process that hears is given: how long, what, how."""

    source: str
    audio: AudioConfig
    capture: CaptureConfig
    seconds: float


@dataclass(frozen=True)
class Heard:
    """What came in.

    Attributes
    ----------
    peak_dbfs, mean_dbfs : float
        Of the largest sample, and of the root of the mean square.
    n_clipped, n_overruns, rate_hz : int
    """

    peak_dbfs: float
    mean_dbfs: float
    n_clipped: int
    n_overruns: int
    rate_hz: int


def check_input_level(context: Context) -> Verdict:
    """Listen for a while, whether there is something, and not too much of it."""
    capture = context.config.capture
    if not capture.audio_in:
        return Verdict("input", SKIPPED, "no input is configured", "set capture.audio_in to record takes")
    source = check_input(capture.audio_in, "capture.audio_in")
    setup = HearSetup(source, context.config.audio, capture, context.seconds)
    heard = result_of(Child("input", _hear_main, setup), context.seconds + SPARE_S)
    found = f"{source}: peak {heard.peak_dbfs:.0f} dBFS, mean {heard.mean_dbfs:.0f} dBFS at {heard.rate_hz} Hz"
    if heard.peak_dbfs <= SILENT_DBFS:
        remedy = "make some sound, turn up the input's gain, and see that the cable is in the input"
        return Verdict("input", WARNING, f"{source}: silence", remedy, vars(heard))
    if heard.n_clipped or heard.peak_dbfs > LOUD_DBFS:
        return Verdict("input", WARNING, f"{found}, too loud", "turn the input's gain down", vars(heard))
    if heard.n_overruns:
        remedy = "allow real-time priority, or raise capture.buffer_s"
        return Verdict("input", WARNING, f"{found}, {heard.n_overruns} gaps", remedy, vars(heard))
    return Verdict("input", GOOD, found, figures=vars(heard))


def _hear_main(part: Part, setup: HearSetup) -> None:
    run_part("hearing", part, lambda: part.say("done", _hear(setup)))


def _hear(setup: HearSetup) -> Heard:
    begin_s = time.monotonic()
    source = open_input(setup.source, setup.audio.rate_hz, setup.audio.period, setup.capture, begin_s)
    try:
        n, peak, power, n_clipped = 0, 0.0, 0.0, 0
        while n < setup.seconds * source.rate_hz and (piece := source.read()) is not None:
            n += len(piece.samples)
            n_clipped += piece.n_clipped
            peak = max(peak, float(np.abs(piece.samples).max(initial=0.0)))
            power += float(np.square(piece.samples, dtype=np.float64).sum())
        mean = to_dbfs((power / n) ** 0.5 if n else 0.0)
        return Heard(round(to_dbfs(peak), 1), round(mean, 1), n_clipped, source.n_overruns, source.rate_hz)
    finally:
        source.close()
