"""PulseAudio's null sink as the card, through ALSA: nothing of ours keeps its time; its monitor is what is heard."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from device.config import Config
from device.core.errors import DanceSamplerError
from device.edges.audio import AudioOutput
from device.engine.live import Live
from tests.bench.latency_card import Heard
from tests.bench.latency_trial import Outcome, Show, Trial, settings_of
from tests.pulse_card import PCM, PulseCard

PERIOD, N_PERIODS = 480, 4
"""The least that its ALSA plugin plays without underruns."""


def run_pulse_trial(trial: Trial, config: Config) -> tuple[Outcome, float]:
    """Try it on the null sink; give also how far the pieces of the recording stray in time, at their median, seconds.

    Raises
    ------
    DanceSamplerError
        There is no PulseAudio, or the engine failed.
    """
    if shutil.which("pulseaudio") is None or shutil.which("parec") is None:
        raise DanceSamplerError("there is no PulseAudio: install pulseaudio, pulseaudio-utils and libasound2-plugins")
    folder = Path(tempfile.mkdtemp(prefix="pulse-"))
    card = PulseCard(folder, config.audio.rate_hz)
    try:
        card.start()
        return _run(trial, config, card)
    finally:
        card.stop()
        shutil.rmtree(folder)


def _run(trial: Trial, config: Config, card: PulseCard) -> tuple[Outcome, float]:
    show = Show(trial.plan)
    open_output = partial(open_pulse, card.environment, config.audio.rate_hz)
    live = Live(show.open_camera, open_output, trial.bundle, settings_of(trial, config))
    with closing(live), TimedRecording(card) as recording:
        live.start()
        while not show.is_over:
            live.watch()
        heard, stray_s = recording.heard()
        queued_s = PERIOD * (N_PERIODS - 1) / config.audio.rate_hz
        return Outcome(heard, show.changes_s, live.performance(), queued_s), stray_s


@contextmanager
def open_pulse(environment: dict[str, str], rate_hz: int) -> Iterator[AudioOutput]:
    """Open it, in the sound's process, which knows its environment from here only."""
    from device.edges.audio_alsa import AlsaOutput

    os.environ.update(environment)
    with closing(AlsaOutput(PCM, rate_hz, PERIOD, N_PERIODS)) as output:
        yield output


class TimedRecording:
    """What the sink's monitor gives, with the time at which each piece came.

    Notes
    -----
    Samples of the sink go by CLOCK_MONOTONIC, so its sample n was heard at a start + n / rate; a piece comes some time
    after its last sample, never before. The start that the earliest piece gives is thus the best that can be known, and
    late by what the quickest way from the server through its recorder to here takes: a millisecond or two.
    """

    def __init__(self, card: PulseCard) -> None:
        self._rate_hz = card.rate_hz
        self._environment = {**os.environ, **card.environment}
        self._pieces: list[bytes] = []
        self._times_s: list[float] = []

    def __enter__(self) -> TimedRecording:
        form = ["--raw", "--format=float32le", f"--rate={self._rate_hz}", "--channels=1", "--latency-msec=5"]
        self._recorder = subprocess.Popen(
            ["parec", "-d", "nul.monitor", *form], stdout=subprocess.PIPE, env=self._environment
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.kill()
        self._recorder.wait()
        self._thread.join()
        assert self._recorder.stdout is not None
        self._recorder.stdout.close()

    def _listen(self) -> None:
        assert self._recorder.stdout is not None
        while piece := os.read(self._recorder.stdout.fileno(), 1 << 16):
            self._times_s.append(time.monotonic())
            self._pieces.append(piece)

    def heard(self) -> tuple[Heard, float]:
        """Give what was heard so far, and by how much the median piece came later than the earliest, seconds."""
        n_pieces = len(self._times_s)  # the time comes first: there is a piece for each but perhaps the last
        pieces = self._pieces[: n_pieces - 1]
        if not pieces:
            raise DanceSamplerError("the null sink's monitor gave nothing: look at PulseAudio's log")
        n_bytes = np.cumsum([len(piece) for piece in pieces])
        starts_s = np.array(self._times_s[: len(pieces)]) - n_bytes / (4 * self._rate_hz)
        sound = np.frombuffer(b"".join(pieces)[: int(n_bytes[-1]) // 4 * 4], np.float32)
        return Heard(sound, self._rate_hz, float(starts_s.min())), float(np.median(starts_s) - starts_s.min())
