from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import AudioError
from device.edges.audio_alsa import AlsaOutput
from tests.alsa_card import build_card, write_config

N_SAMPLES = 2560
LEAD = 256  # Silence before the first block: a buffer of 384 less one period of 128.


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_card(tmp_path_factory.mktemp("card"))


@pytest.fixture
def configure(tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Name one PCM 'stage'; what it plays lands in the file that is returned."""

    def configure(definition: str) -> Path:
        played = tmp_path / "played.raw"
        config = write_config(tmp_path / "asound.conf", plugin, {"stage": definition.replace("PLAYED", str(played))})
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
        return played

    return configure


def ramp() -> npt.NDArray[np.int64]:
    """Steps of 16-bit sound from end to end of its range."""
    return np.linspace(-(2**15), 2**15 - 1, N_SAMPLES).astype(np.int64)


def play(output: AlsaOutput, steps: npt.NDArray[np.int64], n_block: int = 128) -> None:
    sound = (steps / 2**15).astype(np.float32)
    for first in range(0, len(sound), n_block):
        output.wait()
        output.write(sound[first : first + n_block])
    output.close()


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_file_plugin_gets_every_sample_bit_by_bit(configure: Callable[[str], Path], rate_hz: int) -> None:
    played = configure('type file slave.pcm "null" file "PLAYED" format "raw"')
    output = AlsaOutput("stage", rate_hz)
    assert (output.rate_hz, output.period, output.buffer, output.n_channels) == (rate_hz, 128, 384, 2)
    play(output, ramp())
    heard = np.fromfile(played, "<i4").reshape(-1, 2)
    assert not heard[:LEAD].any()
    np.testing.assert_array_equal(heard[LEAD:], np.repeat(ramp()[:, None] << 16, 2, axis=1))
    assert output.n_xruns == 0


def test_null_plugin_plays_blocks_of_any_length() -> None:
    output = AlsaOutput("null", period=64, n_periods=4, channels=1)
    assert (output.period, output.buffer, output.n_channels) == (64, 256, 1)
    for n_samples in (1, 64, 100, 256, 1000):
        output.write(np.zeros(n_samples, np.float32))
    output.close()
    output.close()


@pytest.mark.parametrize("n_channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("alsa_format", "n_bytes", "shift"),
    [("S16_LE", 2, 0), ("S24_3LE", 3, 8), ("S24_LE", 4, 8), ("S32_LE", 4, 16), ("FLOAT_LE", 4, 0)],
)
def test_card_with_one_format_gets_it_bit_by_bit(
    configure: Callable[[str], Path], alsa_format: str, n_bytes: int, shift: int, n_channels: int
) -> None:
    played = configure(f'type dancecard file "PLAYED" format "{alsa_format}" channels {n_channels}')
    play(AlsaOutput("stage", channels=2), ramp())
    raw = np.fromfile(played, np.uint8).reshape(-1, n_channels, n_bytes)
    if alsa_format == "FLOAT_LE":
        heard = (raw.view("<f4")[:, :, 0] * 2**15).astype(np.int64)
    else:
        weights = 256 ** np.arange(n_bytes)
        heard = raw.astype(np.int64) @ weights
        n_bits = 24 if shift == 8 else n_bytes * 8
        heard = (heard & (2**n_bits - 1)) - ((heard >> (n_bits - 1)) & 1) * 2**n_bits
    np.testing.assert_array_equal(heard[LEAD:], np.repeat(ramp()[:, None] << shift, n_channels, axis=1))


@pytest.mark.parametrize("n_channels", [1, 2, 4, 8])
def test_a_card_that_can_do_all_is_asked_for_the_channels_that_are_wanted(
    configure: Callable[[str], Path], n_channels: int
) -> None:
    played = configure('type dancecard file "PLAYED" format "S16_LE"')
    output = AlsaOutput("stage", channels=n_channels)
    assert output.n_channels == n_channels
    play(output, ramp())
    heard = np.fromfile(played, "<i2").reshape(-1, n_channels)
    np.testing.assert_array_equal(heard[LEAD:], np.repeat(ramp()[:, None], n_channels, axis=1))


def test_the_write_that_finds_an_underrun_plays_its_own_block_and_the_next_finds_room(
    configure: Callable[[str], Path],
) -> None:
    played = configure('type dancecard file "PLAYED" format "S16_LE" channels 1 underrun_at 1000')
    output = AlsaOutput("stage")
    block = np.full(128, 0.25, np.float32)
    for _ in range(7):
        output.wait()
        output.write(block)
    assert output.n_xruns == 1
    assert output._pcm.state() == output._alsa.PCM_STATE_RUNNING
    output.wait()
    assert output._pcm.avail() >= output.period
    output.close()
    runs = [(int(value), len(list(run))) for value, run in groupby(np.fromfile(played, "<i2"))]
    assert runs == [(0, LEAD), (8192, 768), (0, LEAD), (8192, 128)]


def test_sizes_are_the_cards_not_the_asked(configure: Callable[[str], Path]) -> None:
    configure('type dancecard file "PLAYED" format "S16_LE" channels 2 period 256')
    output = AlsaOutput("stage", period=128, n_periods=3)
    output.close()
    assert (output.period, output.buffer) == (256, 768)


def test_underrun_is_counted_and_nothing_of_the_sound_is_lost(configure: Callable[[str], Path]) -> None:
    played = configure('type dancecard file "PLAYED" format "S16_LE" channels 1 underrun_at 1000')
    output = AlsaOutput("stage")
    play(output, np.full(N_SAMPLES, 1000))
    assert output.n_xruns == 1
    runs = [(int(value), len(list(run))) for value, run in groupby(np.fromfile(played, "<i2"))]
    assert runs == [(0, LEAD), (1000, 768), (0, LEAD), (1000, N_SAMPLES - 768)]


@pytest.mark.parametrize(
    ("definition", "rate_hz", "says"),
    [
        ('type dancecard file "PLAYED" rate 44100', 48_000, "does not run at 48000 Hz, only at 44100 Hz.*'plug:stage'"),
        ('type dancecard file "PLAYED" busy true', 48_000, "'stage' is busy: stop the program that uses it"),
        ('type dancecard file "PLAYED" format "U8"', 48_000, "offers none of S32_LE.*'plug:stage'"),
        ("type dancecard", 48_000, "there is no sound card 'stage': plug it in"),
    ],
)
def test_refusal_is_one_line_that_says_what_to_do(
    configure: Callable[[str], Path], definition: str, rate_hz: int, says: str
) -> None:
    configure(definition)
    with pytest.raises(AudioError, match=says) as refusal:
        AlsaOutput("stage", rate_hz=rate_hz)
    assert "\n" not in str(refusal.value)


def test_a_card_that_was_refused_can_be_opened_again(configure: Callable[[str], Path]) -> None:
    configure('type dancecard file "PLAYED" rate 44100')
    for _ in range(3):
        with pytest.raises(AudioError):
            AlsaOutput("stage", rate_hz=48_000)
    AlsaOutput("stage", rate_hz=44_100).close()


def test_pulled_out_card_is_an_error_and_closes(configure: Callable[[str], Path]) -> None:
    configure('type dancecard file "PLAYED" gone_at 1000')
    output = AlsaOutput("stage")
    with pytest.raises(AudioError, match=r"'stage' is gone .*: plug it in again"):
        play(output, ramp())
    output.close()
    with pytest.raises(AudioError, match="is closed"):
        output.write(np.zeros(128, np.float32))
    with pytest.raises(AudioError, match="is closed"):
        output.wait()


def test_missing_card_prints_nothing_of_alsa_lib() -> None:
    program = (
        "from device.core.errors import AudioError\n"
        "from device.edges.audio_alsa import AlsaOutput\n"
        "try: AlsaOutput('hw:CARD=Nowhere')\n"
        "except AudioError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stderr == ""
    assert done.stdout.startswith("there is no sound card 'hw:CARD=Nowhere': plug it in or choose another; ")
    assert done.stdout.count("\n") == 1


def test_write_sets_no_memory_aside(configure: Callable[[str], Path]) -> None:
    import tracemalloc

    configure('type dancecard file "PLAYED"')
    output = AlsaOutput("stage")
    block = np.ones(output.period, np.float32)
    output.write(block)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(1000):
        output.wait()
        output.write(block)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    output.close()
    assert after - before < 4096  # the smallest object kept at each write would be 24,000
