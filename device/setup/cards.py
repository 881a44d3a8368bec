"""The sound cards that are plugged in, by names that stay theirs whatever else is plugged in first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Card:
    """A sound card.

    Attributes
    ----------
    pcm : str
        ALSA's name of it, 'hw:CARD=Device'.
    name : str
        What its maker calls it.
    is_usb, is_hdmi : bool
        How it is connected; an HDMI card plays to a screen only.
    plays, records : bool
        Whether it has an output, an input.
    """

    pcm: str
    name: str
    is_usb: bool
    is_hdmi: bool
    plays: bool
    records: bool

    def __str__(self) -> str:
        kind = "USB" if self.is_usb else "HDMI" if self.is_hdmi else "built in"
        ways = " and ".join([*(["plays"] if self.plays else []), *(["records"] if self.records else [])])
        return f"{self.pcm}  {self.name} ({kind}, {ways or 'silent'})"


def find_cards(root: Path = ROOT) -> list[Card]:
    """List the sound cards in the order of their numbers.

    Parameters
    ----------
    root : Path
        Where /proc lies.
    """
    folders = (root / "proc/asound").glob("card[0-9]*")
    return [_card(folder, root) for folder in sorted(folders, key=lambda folder: int(folder.name[4:]))]


def _card(folder: Path, root: Path) -> Card:
    outputs = [_pcm_id(pcm) for pcm in sorted(folder.glob("pcm*p"))]
    identity = _text(folder / "id")
    # A graphics card has an output for each screen; a card with a headphone jack beside them is more than that.
    is_hdmi = "hdmi" in identity.lower() or (bool(outputs) and all("hdmi" in each.lower() for each in outputs))
    return Card(
        pcm=f"hw:CARD={identity}",
        name=_long_name(folder.name[4:], root) or identity,
        is_usb=(folder / "usbid").exists(),
        is_hdmi=is_hdmi,
        plays=bool(outputs),
        records=any(folder.glob("pcm*c")),
    )


def _pcm_id(folder: Path) -> str:
    lines = _text(folder / "info").splitlines()
    return next((line.removeprefix("id:").strip() for line in lines if line.startswith("id:")), "")


def _long_name(number: str, root: Path) -> str:
    """The maker's name, from a line such as ' 1 [Device         ]: USB-Audio - USB Audio Device'."""
    for line in _text(root / "proc/asound/cards").splitlines():
        before, _, after = line.partition("]:")
        if before.split("[")[0].strip() == number:
            return after.partition(" - ")[2].strip()
    return ""


def choose_cards(cards: Sequence[Card]) -> list[Card]:
    """Give the cards that may be meant: USB cards that play. A box has one; what is built in must be asked for."""
    return [card for card in cards if card.is_usb and card.plays and not card.is_hdmi]


def _text(path: Path) -> str:
    """A small file's content; what has just been unplugged has none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
