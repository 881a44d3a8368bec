"""`python -m device setup`: find the sound card and the camera, write their names down, and try both.

What a person wrote into the configuration stays: a card or camera that is named there is changed only when asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from device.config import DEFAULT_PATH, SYSTEM_PATH, Config, load_config
from device.core.errors import AudioError, CameraError, ConfigError
from device.engine.cameras import FoundCamera, check_source, find_cameras
from device.setup.cards import ROOT, Card, choose_cards, find_cards
from device.setup.config_edit import with_keys
from device.store.files import make_folders, replace_synced

if TYPE_CHECKING:
    from device.core.frame import Frame

STILL_HEIGHT, STILL_WIDTH = 480, 640
STILL_N_FRAMES = 30
"""A camera finds its exposure in the first frames; the last of these is kept."""
SET_UP = "sudo dance-sampler setup"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=_Named)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device setup`."""
    parser.add_argument("--card", metavar="PCM", help="the sound card, hw:CARD=Device; otherwise the one USB card")
    parser.add_argument("--camera", metavar="SOURCE", help="as [camera] source; otherwise the one camera")
    parser.add_argument("--no-tone", action="store_true", help="do not play a tone")
    parser.add_argument("--still", type=Path, metavar="FILE", help="save a picture as PNG, to aim the camera by")
    parser.add_argument("--list", action="store_true", help="list what is plugged in and change nothing")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="DIR", help="where the system lies, if not in /")


def main(args: argparse.Namespace) -> int:
    """Choose, write down, try; 1 if something is missing, which is then said last."""
    path = args.root / SYSTEM_PATH.relative_to(ROOT)
    cards, cameras = find_cards(args.root), find_cameras()
    _list("Sound cards", cards)
    _list("Cameras", [f"{each.source}  {each.name}" for each in cameras])
    if args.list:
        return 0
    before = load_config(system_path=path)
    failures: list[str] = []
    with _noted(failures):
        _write(path, _card_keys(args.card, before, cards))
    with _noted(failures):
        _write(path, _camera_keys(args.camera, before, cameras))
    config = load_config(system_path=path)
    if not args.no_tone and not _is_default(config, "audio.device"):
        with _noted(failures):
            _play_tone(config)
    if args.still is not None:
        with _noted(failures):
            _save_still(args.still, config)
    sys.stdout.flush()  # so that this stands last in a pipe, too
    for failure in failures:
        print(f"Still to do: {failure}", file=sys.stderr)
    return 1 if failures else 0


@contextmanager
def _noted(failures: list[str]) -> Iterator[None]:
    """Go on with the next step where one fails: what can be set up is."""
    try:
        yield
    except (AudioError, CameraError) as error:
        failures.append(str(error))


def _list(title: str, things: Sequence[object]) -> None:
    print(f"{title}:" if things else f"{title}: none")
    for thing in things:
        print(f"  {thing}")


def _card_keys(named: str | None, config: Config, cards: list[Card]) -> dict[str, str]:
    """Give the keys that are to be written for the sound card."""
    if named is None:
        if not _is_default(config, "audio.device"):
            return {}
        others = [card for card in cards if card.plays and not card.is_hdmi]
        card = _the_one("USB sound card", choose_cards(cards), others)
        if isinstance(card, str):
            raise AudioError(f"{card} with --card hw:CARD=...")
        named = card.pcm
    keys = {"audio.device": named}
    if _is_default(config, "capture.audio_in") and any(each.pcm == named and each.records for each in cards):
        keys["capture.audio_in"] = f"alsa:{named}"
    return keys


def _camera_keys(named: str | None, config: Config, cameras: list[FoundCamera]) -> dict[str, str]:
    """Give the keys that are to be written for the camera."""
    if named is None:
        if not _is_default(config, "camera.source"):
            return {}
        camera = _the_one("camera", cameras, cameras)
        if isinstance(camera, str):
            raise CameraError(f"{camera} with --camera ...")
        named = camera.source
    return {"camera.source": check_source(named)}


def _is_default(config: Config, key: str) -> bool:
    return config.origins[key] == str(DEFAULT_PATH)


def _the_one(kind: str, likely: Sequence[Thing], possible: Sequence[Thing]) -> Thing | str:
    """Give the one that is likely, or that a person at a terminal chooses, or say why it is none."""
    if len(likely) == 1:
        return likely[0]
    chosen = _asked(kind, possible) if sys.stdin.isatty() and possible else None
    if chosen is not None:
        return chosen
    if len(likely) > 1:
        return f"there are {len(likely)} {kind}s: choose one, {SET_UP}"
    return f"there is no {kind}: plug it in, then run {SET_UP}, or name another"


def _asked(kind: str, things: Sequence[Thing]) -> Thing | None:
    for number, thing in enumerate(things, 1):
        print(f"  {number}: {thing.name}")
    while True:
        answer = input(f"Which {kind}? 1 to {len(things)}, or nothing for none yet: ").strip()
        if not answer:
            return None
        if answer.isdecimal() and 1 <= int(answer) <= len(things):
            return things[int(answer) - 1]


def _write(path: Path, values: dict[str, str]) -> None:
    """Put the keys into the machine's configuration, if it is a good one then."""
    if not values:
        return
    old = path.read_text(encoding="utf-8") if path.exists() else "# What differs from device/default.toml.\n"
    new = with_keys(old, values)
    make_folders(path.parent)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(new, encoding="utf-8")
    try:
        load_config(draft, system_path=draft)
    except ConfigError as error:
        wanted = ", ".join(f'{key} = "{value}"' for key, value in values.items())
        raise ConfigError(f"{path} cannot be changed by this program ({error}): write into it {wanted}") from error
    finally:
        draft.unlink()
    replace_synced(path, new.encode())
    path.chmod(0o644)
    for key, value in values.items():
        print(f"{path}: {key} = {value}")


def _play_tone(config: Config) -> None:
    from device.engine.openers import open_card
    from device.setup.tone import tone

    sound = tone(config.audio.rate_hz)
    with open_card(config.audio.device, config.audio.rate_hz, config.audio) as card:
        for begin in range(0, len(sound) - card.period + 1, card.period):
            card.write(sound[begin : begin + card.period])
    print(f"A tone was played on {config.audio.device}.")


def _save_still(path: Path, config: Config) -> None:
    from device.engine.openers import open_camera
    from device.setup.png import png

    frame: Frame | None = None
    camera = open_camera(config.camera.source, replace(config.camera, height=STILL_HEIGHT, width=STILL_WIDTH))
    try:
        for _ in range(STILL_N_FRAMES):
            newer = camera.read()
            if newer is None:
                break
            frame = newer
    finally:
        camera.close()
    if frame is not None:
        path.write_bytes(png(frame.grey))
        print(f"A picture was saved as {path}.")
