"""A sound card's input through ALSA itself: a file in place of the card, by ALSA's own plugin."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from device.capture.intake import MICROPHONE, Intake
from device.capture.microphone import Microphone
from device.core.errors import AudioError
from device.edges.audio_in_alsa import AlsaInput
from device.engine.realtime import Urgency
from device.engine.shared import SharedArrays
from device.engine.sound_ring import SoundRing
from tests.eventually import eventually
from tests.pulse_card import PCM, PulseCard, pulse_card

__all__ = ["pulse_card"]

RATE_HZ, PERIOD = 48_000, 480


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Name a PCM 'stage' that hears these bytes, as 16-bit samples in two channels."""

    def name(heard: bytes) -> None:
        (tmp_path / "heard.raw").write_bytes(heard)
        slave = 'type file slave.pcm "null" file "/dev/null" format "raw"'
        config = (
            "</usr/share/alsa/alsa.conf>\n"
            f'pcm.tape {{ {slave} infile "{tmp_path / "heard.raw"}" }}\n'
            'pcm.stage { type plug slave { pcm "tape" format S16_LE channels 2 rate 48000 } }\n'
        )
        (tmp_path / "asound.conf").write_text(config, encoding="utf-8")
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))

    return name


def pieces(source: AlsaInput, n_samples: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    n = 0
    while n < n_samples:
        piece = source.read()
        n += len(piece.samples)
        yield piece.samples


@pytest.mark.parametrize(("channel", "index"), [(1, 0), (2, 1)])
def test_what_the_card_hears_comes_in_bit_by_bit(stage: Callable[[bytes], None], channel: int, index: int) -> None:
    steps = np.random.default_rng(0).integers(-(2**15), 2**15, (4800, 2)).astype("<i2")
    stage(steps.tobytes())
    with closing(AlsaInput("stage", RATE_HZ, PERIOD, channel=channel)) as source:
        heard = np.concatenate(list(pieces(source, 4800)))[:4800]
    np.testing.assert_array_equal(np.rint(heard * 32768), steps[:, index])


def test_a_card_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(AudioError, match="there is no sound card 'hw:CARD=Nowhere'"):
        AlsaInput("hw:CARD=Nowhere")


def test_a_server_s_sound_comes_in_time_and_when_it_is_taken_away_that_is_an_error(pulse_card: PulseCard) -> None:
    pulse_card.start()
    ring, said = SoundRing(RATE_HZ, PERIOD), SharedArrays(MICROPHONE)
    intake = Intake(ring, said)
    with closing(AlsaInput(PCM, RATE_HZ, PERIOD)) as source:
        begin_s = time.monotonic()
        while time.monotonic() - begin_s < 2.5:
            intake.take(source.read(), source.rate_hz, time.monotonic())
        newest = ring.n_blocks - 1
        # A machine that is busy for a while may make the server drop some; what there is has its time all the same.
        assert ring.time_s(newest) == pytest.approx(time.monotonic(), abs=0.5)
        assert ring.n_blocks * PERIOD / RATE_HZ > 1.5
        pulse_card.stop()

        def is_gone() -> bool:
            try:
                source.read()
            except AudioError as error:
                return "plug it in again" in str(error)
            return False

        eventually(is_gone)


def open_pulse(environment: dict[str, str], _begin_s: float) -> AlsaInput:
    """Open a server's card in another process, whose environment is an older one."""
    os.environ.update(environment)
    return AlsaInput(PCM, RATE_HZ, PERIOD)


def test_a_card_that_is_absent_comes_goes_and_comes_back_in_one_ring(pulse_card: PulseCard) -> None:
    ring = SoundRing(RATE_HZ, PERIOD)
    microphone = Microphone(partial(open_pulse, pulse_card.environment), ring, Urgency(0, lock_memory=False))

    def until(is_so: Callable[[], bool]) -> None:
        def holds() -> bool:
            microphone.watch()
            return is_so()

        eventually(holds)

    microphone.start()
    try:
        until(lambda: bool(microphone.last_error))
        assert not microphone.is_live
        assert ring.n_blocks == 0
        pulse_card.start()
        until(lambda: microphone.is_live and ring.n_blocks > 50)
        pulse_card.stop()
        until(lambda: not microphone.is_live)
        assert microphone.counts["n_input_losses"] == 1
        n_before = ring.n_blocks
        until(lambda: ring.n_blocks > n_before + 60)  # it goes on, in silence
        pulse_card.start()
        until(lambda: microphone.is_live)
        heard = ring.read_from(0, 100_000)
        assert heard is not None
        np.testing.assert_allclose(np.diff(heard.times_s), PERIOD / RATE_HZ, atol=0.05)
        assert microphone.counts["n_filled_samples"] > 50 * PERIOD
    finally:
        microphone.close()
