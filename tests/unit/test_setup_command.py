"""Finding card and camera, and writing their names between a person's own lines."""

from __future__ import annotations

import argparse
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from device.commands import setup as setup_command
from device.config import Config, load_config
from device.core.errors import AudioError, ConfigError, UsageError
from device.core.frame import Frame
from device.engine import openers
from device.engine.cameras import FoundCamera
from device.setup.cards import find_cards
from device.setup.config_edit import with_keys
from device.setup.png import png
from device.setup.tone import TAIL_S, TONE_DB, TONE_HZ, TONE_S, tone

USB, HDMI, JACK = "USB Audio", "MAI PCM i2s-hifi-0", "bcm2835 Headphones"
CAMERA = FoundCamera("v4l2:/dev/v4l/by-id/usb-eye-index0", "Eye")
OTHER_CAMERA = FoundCamera("picamera2", "imx708")


def plug_in(root: Path, *cards: tuple[str, str, str]) -> None:
    """Write what the kernel says of sound cards: id, output (empty: none), input (empty: none)."""
    shutil.rmtree(root / "proc", ignore_errors=True)
    lines = []
    for number, (identity, output, inputs) in enumerate(cards):
        folder = root / f"proc/asound/card{number}"
        for way, pcm in (("p", output), ("c", inputs)):
            if pcm:
                (folder / f"pcm0{way}").mkdir(parents=True)
                (folder / f"pcm0{way}/info").write_text(f"card: {number}\ndevice: 0\nid: {pcm}\n")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "id").write_text(f"{identity}\n")
        if USB in (output, inputs):
            (folder / "usbid").write_text("0d8c:0014\n")
        lines.append(f" {number} [{identity:15s}]: Driver - {identity} of a maker\n      at some place\n")
    (root / "proc/asound").mkdir(parents=True, exist_ok=True)
    (root / "proc/asound/cards").write_text("".join(lines))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a screen, a headphone jack, a USB card and a camera."""
    plug_in(tmp_path, ("vc4hdmi0", HDMI, ""), ("Headphones", JACK, ""), ("Device", USB, USB))
    monkeypatch.setattr(setup_command, "find_cameras", lambda: [CAMERA])
    return tmp_path


def config_of(root: Path) -> Config:
    return load_config(system_path=root / "etc/dance-sampler/config.toml")


def set_up(root: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    setup_command.add_arguments(parser)
    return setup_command.main(parser.parse_args(["--root", str(root), "--no-tone", *options]))


def answers(monkeypatch: pytest.MonkeyPatch, *given: str) -> list[str]:
    """A person at a terminal; gives what they were asked."""
    asked: list[str] = []
    waiting = iter(given)

    def answer(question: str) -> str:
        asked.append(question)
        return next(waiting)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    return asked


def test_cards_are_told_apart(root: Path) -> None:
    screen, jack, usb = find_cards(root)
    assert (screen.is_hdmi, jack.is_hdmi, usb.is_hdmi) == (True, False, False)
    assert (screen.is_usb, jack.is_usb, usb.is_usb) == (False, False, True)
    assert (usb.pcm, usb.plays, usb.records) == ("hw:CARD=Device", True, True)
    assert str(jack) == "hw:CARD=Headphones  Headphones of a maker (built in, plays)"


def test_a_graphics_card_with_hdmi_only_is_a_screen_and_one_with_a_jack_is_not(tmp_path: Path) -> None:
    plug_in(tmp_path, ("NVidia", "HDMI 0", ""), ("PCH", "ALC257 Analog", "ALC257 Analog"))
    (tmp_path / "proc/asound/card1/pcm3p").mkdir()
    (tmp_path / "proc/asound/card1/pcm3p/info").write_text("id: HDMI 0\n")
    assert [card.is_hdmi for card in find_cards(tmp_path)] == [True, False]


def test_cards_are_listed_by_number_and_a_machine_may_have_none(tmp_path: Path) -> None:
    plug_in(tmp_path, *[(f"Card{number}", USB, "") for number in range(11)])
    assert [card.pcm for card in find_cards(tmp_path)] == [f"hw:CARD=Card{number}" for number in range(11)]
    assert find_cards(tmp_path / "nowhere") == []


def test_the_one_usb_card_and_the_one_camera_are_taken(root: Path) -> None:
    assert set_up(root) == 0
    config = config_of(root)
    assert config.audio.device == "hw:CARD=Device"
    assert config.capture.audio_in == "alsa:hw:CARD=Device"
    assert config.camera.source == CAMERA.source


def test_a_card_without_an_input_leaves_what_is_recorded_alone(root: Path) -> None:
    plug_in(root / "other", ("Device", USB, ""))
    assert set_up(root / "other") == 0
    assert config_of(root / "other").capture.audio_in == config_of(root / "nowhere").capture.audio_in


def test_what_a_person_wrote_stays_and_is_changed_only_when_asked(root: Path) -> None:
    path = root / "etc/dance-sampler/config.toml"
    path.parent.mkdir(parents=True)
    mine = '# the stage\n[audio]\ndevice = "hw:CARD=Headphones" # the monitors\n\n[camera]\nsource = "picamera2"\n'
    path.write_text(mine)
    assert set_up(root) == 0
    assert path.read_text() == mine
    assert set_up(root, "--card", "hw:CARD=Device") == 0
    assert '[audio]\ndevice = "hw:CARD=Device" # the monitors\n' in path.read_text()
    assert path.read_text().startswith("# the stage\n")
    assert config_of(root).camera.source == "picamera2"


def test_listing_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set_up(root, "--list") == 0
    assert not (root / "etc").exists()
    said = capsys.readouterr().out
    assert "hw:CARD=vc4hdmi0  vc4hdmi0 of a maker (HDMI, plays)" in said
    assert f"{CAMERA.source}  Eye" in said


def test_of_several_a_person_at_a_terminal_chooses(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(root, ("vc4hdmi0", HDMI, ""), ("One", USB, ""), ("Two", USB, ""))
    monkeypatch.setattr(setup_command, "find_cameras", lambda: [OTHER_CAMERA, CAMERA])
    asked = answers(monkeypatch, "7", "two", "2", "1")
    assert set_up(root) == 0
    assert config_of(root).audio.device == "hw:CARD=Two"
    assert config_of(root).camera.source == "picamera2"
    assert len(asked) == 4
    assert "1 to 2" in asked[0]  # the screen is not among them


def test_a_person_may_choose_none_yet(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in(root / "jack", ("vc4hdmi0", HDMI, ""), ("Headphones", JACK, ""))
    answers(monkeypatch, "")
    assert set_up(root / "jack") == 1
    assert "Still to do: there is no USB sound card" in capsys.readouterr().err
    assert config_of(root / "jack").camera.source == CAMERA.source


def test_without_a_person_nothing_is_chosen_among_several(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup_command, "find_cameras", lambda: [OTHER_CAMERA, CAMERA])
    assert set_up(root) == 1
    assert "there are 2 cameras: choose one" in capsys.readouterr().err
    assert config_of(root).audio.device == "hw:CARD=Device"
    assert config_of(root).camera.source == "auto"


def test_a_camera_that_cannot_be_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="there is no camera 'webcam'"):
        set_up(root, "--camera", "webcam")


def test_a_configuration_that_cannot_be_edited_is_left_as_it_is(root: Path) -> None:
    path = root / "etc/dance-sampler/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("audio.period = 256\n")  # TOML knows no second way to add to this table
    with pytest.raises(ConfigError, match=r'write into it audio\.device = "hw:CARD=Device"'):
        set_up(root)
    assert path.read_text() == "audio.period = 256\n"
    assert [each.name for each in path.parent.iterdir()] == ["config.toml"]


class Card:
    """Keeps what it is given to play."""

    period = 128

    def __init__(self) -> None:
        self.played: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []

    def write(self, block: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        assert len(block) == self.period
        self.played.append(block)


def test_the_tone_is_played_on_the_card_that_was_chosen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, opened = Card(), []

    @contextmanager
    def open_card(pcm: str, rate_hz: int, _config: object) -> Iterator[Card]:
        opened.append((pcm, rate_hz))
        yield card

    monkeypatch.setattr(openers, "open_card", open_card)
    parser = argparse.ArgumentParser()
    setup_command.add_arguments(parser)
    assert setup_command.main(parser.parse_args(["--root", str(root)])) == 0
    assert opened == [("hw:CARD=Device", 48000)]
    sound = np.concatenate(card.played)
    assert len(sound) >= TONE_S * 48000
    hz = np.argmax(np.abs(np.fft.rfft(sound))) * 48000 / len(sound)
    assert abs(hz - TONE_HZ) < 2.0


def test_a_card_that_does_not_play_is_said_and_the_rest_is_done(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_card(pcm: str, _rate_hz: int, _config: object) -> None:
        raise AudioError(f"sound card {pcm!r} is busy: stop the program that plays on it")

    monkeypatch.setattr(openers, "open_card", open_card)
    parser = argparse.ArgumentParser()
    setup_command.add_arguments(parser)
    assert setup_command.main(parser.parse_args(["--root", str(root)])) == 1
    assert "is busy" in capsys.readouterr().err
    assert config_of(root).camera.source == CAMERA.source


def test_the_tone_is_soft_and_has_no_clicks() -> None:
    sound = tone(48000)
    n_tail, n_edge = round(TAIL_S * 48000), 240
    assert not sound[-n_tail + 1 :].any()
    for edge in (sound[:n_edge], sound[-n_tail - n_edge : -n_tail]):
        assert np.abs(edge).max() < 0.15 * np.abs(sound).max()
    assert np.abs(sound).max() == pytest.approx(10 ** (TONE_DB / 20), rel=1e-3)
    steepest = 2 * np.pi * TONE_HZ / 48000 * 10 ** (TONE_DB / 20)
    assert np.abs(np.diff(sound, prepend=np.float32(0), append=np.float32(0))).max() < 1.1 * steepest


class Camera:
    """Becomes brighter from frame to frame, as one does that finds its exposure."""

    def __init__(self, height: int, width: int) -> None:
        self.n, self.size, self.is_open = 0, (height, width), True

    def read(self) -> Frame:
        self.n += 1
        return Frame(np.full(self.size, min(6 * self.n, 200), np.uint8), float(self.n))

    def close(self) -> None:
        self.is_open = False


def test_the_picture_to_aim_by_is_large_and_taken_when_the_camera_has_settled(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = []

    def open_camera(source: str, config: object) -> Camera:
        assert source == CAMERA.source
        cameras.append(Camera(config.height, config.width))  # type: ignore[attr-defined]
        return cameras[-1]

    monkeypatch.setattr(openers, "open_camera", open_camera)
    assert set_up(root, "--still", str(tmp_path / "aim.png")) == 0
    data = (tmp_path / "aim.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (640, 480)
    assert read_png(data)[0, 0] == 180
    assert not cameras[0].is_open


def read_png(data: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Decode one grey PNG of ours, checksums included."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:].copy()


def test_a_png_is_what_other_programs_read(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (7, 5), np.uint8)
    (tmp_path / "a.png").write_bytes(png(picture))
    cv2 = pytest.importorskip("cv2")
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_GRAYSCALE), picture)
    assert np.array_equal(read_png(png(picture)), picture)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[audio]\ndevice = "x"\n'),
        ("[camera]\nfps = 30\n", '[camera]\nfps = 30\n\n[audio]\ndevice = "x"\n'),
        ('[audio]\n[other]\ndevice = "y"\n', '[audio]\ndevice = "x"\n[other]\ndevice = "y"\n'),
        ("[audio]\nperiod = 64\n", '[audio]\ndevice = "x"\nperiod = 64\n'),
        ('[audio] # loud\ndevice="a#b"   # mine\n', '[audio] # loud\ndevice = "x"   # mine\n'),
        ("[audio]\ndevice = 'a' # \"b\"\n[room]\n", '[audio]\ndevice = "x" # "b"\n[room]\n'),
        (
            '[room]\nprofile = "device = 1"\n#[audio]\n',
            '[room]\nprofile = "device = 1"\n#[audio]\n\n[audio]\ndevice = "x"\n',
        ),
        (
            '# device = "old"\n[audio]\n# device = "old"\n',
            '# device = "old"\n[audio]\ndevice = "x"\n# device = "old"\n',
        ),
    ],
)
def test_a_key_is_set_and_all_else_stays(before: str, after: str) -> None:
    assert with_keys(before, {"audio.device": "x"}) == after


def test_a_value_with_quotes_is_written_as_toml_has_it() -> None:
    text = with_keys("", {"camera.source": 'gst:videotestsrc ! capsfilter caps="video/x-raw"'})
    assert text.splitlines()[1] == r'source = "gst:videotestsrc ! capsfilter caps=\"video/x-raw\""'
