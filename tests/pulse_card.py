"""PulseAudio as a sound card in real time, which can be plugged in and taken away and gives back what was heard."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pytest

from tests.eventually import eventually

Sound = npt.NDArray[np.float32]

# ALSA's name of the card.
PCM = "pulse"

# Longer than anything here takes, even on a busy machine.


class PulseCard:
    """A server with one sink that plays to nobody, in a folder of its own; plugged in by `start`.

    Parameters
    ----------
    folder : Path
        Empty; its name must be short, for a socket lies in it.
    rate_hz, n_channels : int
        Of the sink.

    Attributes
    ----------
    environment : dict of str to str
        What the environment of a program must hold beside its own, so that ALSA's "pulse" is this card.
    """

    def __init__(self, folder: Path, rate_hz: int = 48_000, n_channels: int = 2) -> None:
        self.rate_hz = rate_hz
        self.n_channels = n_channels
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._n_recordings = 0
        alsa = folder / "asound.conf"
        alsa.write_text(
            f"</usr/share/alsa/alsa.conf>\npcm.{PCM} {{ type pulse handle_underrun 1 }}\n", encoding="utf-8"
        )
        # A library that finds no server starts one of its own, unless it is told not to.
        client = folder / "client.conf"
        client.write_text("autospawn = no\n", encoding="utf-8")
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder / 'native'}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "PULSE_CLIENTCONFIG": str(client),
            "ALSA_CONFIG_PATH": str(alsa),
        }

    def start(self) -> None:
        """Plug it in, and wait until it is there."""
        assert self._server is None
        # Without rewinds the sink takes short pieces; with them, one that was idle first sleeps for up to two seconds.
        sink = f"sink_name=nul rate={self.rate_hz} channels={self.n_channels} format=float32le norewinds=1"
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--realtime=no", "--high-priority=no"]
        modules = [
            "-L",
            f"module-null-sink {sink}",
            "-L",
            f"module-native-protocol-unix socket={self._folder / 'native'}",
        ]
        with (self._folder / "server.log").open("ab") as log:
            self._server = self._run(["pulseaudio", *options, *modules], log, log)
        eventually(lambda: self._ask("pactl", "info") == 0)

    def stop(self) -> None:
        """Take it away, as a plug is pulled. May be called twice."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
            (self._folder / "native").unlink(missing_ok=True)

    @contextmanager
    def record(self) -> Iterator[Recording]:
        """Listen to what is played, from now on and until it is taken away."""
        self._n_recordings += 1
        path = self._folder / f"heard-{self._n_recordings}.raw"
        form = ["--raw", "--format=float32le", f"--rate={self.rate_hz}", f"--channels={self.n_channels}"]
        with path.open("wb") as file, (self._folder / "recorder.log").open("ab") as log:
            recorder = self._run(["parec", "-d", "nul.monitor", "--latency-msec=20", *form], file, log)
            try:
                eventually(lambda: path.stat().st_size > 0)
                yield Recording(path, self.n_channels)
            finally:
                recorder.kill()
                recorder.wait()

    @contextmanager
    def play(self, sound: Path) -> Iterator[None]:
        """Play a sound file into its input: what the sink plays is what ALSA's "pulse" hears."""
        with (self._folder / "player.log").open("ab") as log:
            player = self._run(["paplay", "--device=nul", str(sound)], log, log)
            try:
                yield
            finally:
                player.kill()
                player.wait()

    def _run(self, command: list[str], output: IO[bytes], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=output, stderr=log, env=self._whole_environment())

    def _ask(self, *command: str) -> int:
        assert self._server is not None
        assert self._server.poll() is None, (self._folder / "server.log").read_text(encoding="utf-8")
        return subprocess.run(command, capture_output=True, check=False, env=self._whole_environment()).returncode

    def _whole_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


class Recording:
    """What is heard; grows as long as it is recorded."""

    def __init__(self, path: Path, n_channels: int) -> None:
        self._path = path
        self._n_channels = n_channels

    @property
    def sound(self) -> Sound:
        """All that was heard so far, shape (n_samples, n_channels), float32."""
        n_bytes = self._path.stat().st_size
        heard = np.fromfile(self._path, np.float32, count=n_bytes // (4 * self._n_channels) * self._n_channels)
        return heard.reshape(-1, self._n_channels)

    def hears(self) -> bool:
        """Tell whether there was anything but silence."""
        return bool(self.sound.any())


@pytest.fixture
def pulse_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseCard]:
    """A card that is not plugged in yet; ALSA's "pulse" means it, here and in programs that are started."""
    folder = Path(tempfile.mkdtemp(prefix="pulse-"))
    card = PulseCard(folder)
    for name, value in card.environment.items():
        monkeypatch.setenv(name, value)
    try:
        yield card
    finally:
        card.stop()
        shutil.rmtree(folder)
