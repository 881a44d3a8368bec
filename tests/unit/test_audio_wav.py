from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile

from device.core.errors import AudioError
from device.edges import audio_wav
from device.edges.audio_wav import WavOutput, read_wav

STEPS = np.arange(-(2**15), 2**15)
SOUND = (STEPS / 2**15).astype(np.float32)


@pytest.mark.parametrize("n_bits", [16, 24])
def test_what_is_played_is_read_back_bit_by_bit(tmp_path: Path, n_bits: Literal[16, 24]) -> None:
    path = tmp_path / "new" / "folder" / "dance.wav"
    output = WavOutput(path, rate_hz=44_100, period=100, n_periods=4, n_bits=n_bits)
    assert (output.rate_hz, output.period, output.buffer, output.n_xruns) == (44_100, 100, 400, 0)
    for first in range(0, len(SOUND), 100):
        output.write(SOUND[first : first + 100])
    output.close()
    output.close()
    sound, rate_hz = read_wav(path)
    np.testing.assert_array_equal(sound, SOUND)
    assert rate_hz == 44_100
    assert soundfile.info(path).subtype == f"PCM_{n_bits}"


def test_too_loud_is_clipped_and_nan_is_silence(tmp_path: Path) -> None:
    output = WavOutput(tmp_path / "dance.wav")
    output.write(np.array([2.0, -np.inf, np.nan, 0.5], np.float32))
    output.close()
    assert read_wav(tmp_path / "dance.wav")[0].tolist() == [1 - 2**-15, -1.0, 0.0, 0.5]


def test_block_longer_than_any_buffer_is_whole(tmp_path: Path) -> None:
    output = WavOutput(tmp_path / "dance.wav", period=64)
    output.write(SOUND)
    output.close()
    np.testing.assert_array_equal(read_wav(tmp_path / "dance.wav")[0], SOUND)


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "dance.wav"
    path.write_bytes(b"old")
    output = WavOutput(path)
    output.write(SOUND[:128])
    assert path.read_bytes() == b"old"
    output.close()
    assert len(read_wav(path)[0]) == 128
    assert [file.name for file in tmp_path.iterdir()] == ["dance.wav"]


def test_abandoned_sound_leaves_nothing(tmp_path: Path) -> None:
    output = WavOutput(tmp_path / "dance.wav")
    output.write(SOUND[:128])
    output.abandon()
    output.abandon()
    output.close()
    assert list(tmp_path.iterdir()) == []


def test_abandon_after_close_keeps_the_file(tmp_path: Path) -> None:
    output = WavOutput(tmp_path / "dance.wav")
    output.close()
    output.abandon()
    assert len(read_wav(tmp_path / "dance.wav")[0]) == 0


def test_nothing_can_be_played_after_close(tmp_path: Path) -> None:
    output = WavOutput(tmp_path / "dance.wav")
    output.close()
    with pytest.raises(AudioError, match="is closed: nothing more"):
        output.write(SOUND[:128])


def test_full_wav_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_wav, "_MAX_BYTES", 512)
    output = WavOutput(tmp_path / "dance.wav")
    output.write(SOUND[:256])
    with pytest.raises(AudioError, match="is full, a WAV holds 4 GB: play for a shorter time"):
        output.write(SOUND[:1])
    output.close()
    np.testing.assert_array_equal(read_wav(tmp_path / "dance.wav")[0], SOUND[:256])


def test_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is a folder: give the name of the WAV file"):
        WavOutput(tmp_path)
    with pytest.raises(AudioError, match="is a folder"):
        WavOutput("")


def test_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AudioError, match=r"cannot be written .*: choose another place"):
        WavOutput(tmp_path / "file" / "dance.wav")


def test_place_that_takes_no_file_is_refused() -> None:
    with pytest.raises(AudioError, match=r"^/proc/dance.wav cannot be written \(.+\): choose another place$"):
        WavOutput(Path("/proc/dance.wav"))


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, sys, numpy\n"
        "from device.core.errors import AudioError\n"
        "from device.edges.audio_wav import WavOutput\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "output = WavOutput(sys.argv[1])\n"
        "try:\n"
        "    for _ in range(1000): output.write(numpy.ones(128, numpy.float32))\n"
        "except AudioError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "dance.wav"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.startswith(f"{tmp_path}/dance.wav cannot be written any more (")
    assert done.stdout.endswith("): free some space\n")
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_channels_are_averaged_when_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "two.wav", np.array([[0.5, 0.0], [0.0, -0.5]]), 8_000)
    sound, rate_hz = read_wav(tmp_path / "two.wav")
    assert (sound.tolist(), rate_hz) == ([0.25, -0.25], 8_000)


def test_what_is_no_sound_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.wav").write_text("milk, bread")
    with pytest.raises(AudioError, match=r"is not a sound file .*: give a WAV or FLAC file"):
        read_wav(tmp_path / "list.wav")
    with pytest.raises(AudioError, match=r"there is no sound file .*: check the path"):
        read_wav(tmp_path / "missing.wav")
