"""The card's side of every version of pyalsaaudio, in virtual time: what is heard, and what was counted."""

from __future__ import annotations

import errno
import os
import select
from typing import Any

import numpy as np
import pytest

from device.core.errors import AudioError
from device.edges.audio_alsa import AlsaOutput
from device.edges.audio_alsa_open import list_cards

PREPARED, RUNNING, XRUN, SETUP = "prepared", "running", "xrun", "setup"
PERIOD, BUFFER, RATE_HZ = 128, 384, 48_000
LEAD = [0.0] * (BUFFER - PERIOD)

# Always says that it can be written to.
READY = os.open(os.devnull, os.O_WRONLY)


class CardError(Exception):
    """What pyalsaaudio raises."""


class Card:
    """A card with a buffer that plays as time passes, behind the `write` of one version of pyalsaaudio.

    `tells`: the state says XRUN as soon as it happens; otherwise only `write` finds out.
    """

    def __init__(self, version: str, tells: bool, longest_write: int = 10**9) -> None:
        self.version = version
        self.tells = tells
        self.longest_write = longest_write
        self.condition = PREPARED
        self.now = 0
        self.held: list[float] = []
        self.heard: list[float] = []
        self.calls: list[str] = []
        self.n_at_start: list[int] = []
        self.n_least_held = BUFFER
        if version == "0.11":
            self.avail = self._avail
        if version != "0.9":
            self.state = lambda: RUNNING if self.condition == XRUN and not self.tells else self.condition

    def info(self) -> dict[str, Any]:
        return {
            "rate": RATE_HZ,
            "format_name": "FLOAT_LE",
            "channels": 1,
            "period_size": PERIOD,
            "buffer_size": BUFFER,
        }

    def getformats(self) -> dict[str, int]:
        return {"FLOAT_LE": 14}

    def pass_time(self, n_samples: int) -> None:
        self.now += n_samples
        if self.condition == RUNNING:
            self.heard += self.held[:n_samples]
            if n_samples > len(self.held):
                self.condition = XRUN
            self.held = self.held[n_samples:]
            if n_samples:
                self.n_least_held = min(self.n_least_held, len(self.held))

    def write(self, data: memoryview) -> int:
        assert self.condition != "closed"
        if self.condition == SETUP or (self.condition == XRUN and self.version == "0.10" and self.tells):
            self._prepare()
        if self.condition == XRUN:
            if self.version == "0.10":
                self.tells = True
                raise CardError("Broken pipe [stage]")
            self._prepare()
            if self.version == "0.11":
                return -errno.EPIPE
        samples = np.frombuffer(data, np.float32)[: self.longest_write].tolist()
        if self.condition == PREPARED:
            self.n_at_start.append(len(samples))
        self.condition = RUNNING
        for first in range(0, len(samples), PERIOD):
            block = samples[first : first + PERIOD]
            self.pass_time(max(len(self.held) + len(block) - BUFFER, 0))
            self.held += block
        return len(samples)

    def polldescriptors(self) -> list[tuple[int, int]]:
        return [(READY, select.POLLOUT)]

    def polldescriptors_revents(self, ready: list[tuple[int, int]]) -> int:
        """Stand where the real one waits: a period goes by, less what went by since the last."""
        assert ready == [(READY, select.POLLOUT)]
        self.pass_time(PERIOD - self.now % PERIOD)
        return select.POLLOUT

    def _avail(self) -> int:
        return -errno.EPIPE if self.condition == XRUN else BUFFER - len(self.held)

    def drop(self) -> None:
        self.calls.append("drop")
        self.held = []
        self.condition = SETUP

    def close(self) -> None:
        self.calls.append("close")
        self.condition = "closed"

    def _prepare(self) -> None:
        self.held = []
        self.condition = PREPARED


class Alsa:
    """Stands in for the module."""

    PCM_PLAYBACK = PCM_NORMAL = 0
    PCM_FORMAT_S32_LE, PCM_FORMAT_FLOAT_LE = 10, 14
    PCM_STATE_RUNNING, PCM_STATE_XRUN = RUNNING, XRUN
    ALSAAudioError = CardError

    def __init__(self, card: Card | None = None, refusal: str = "", names: tuple[str, ...] = ()) -> None:
        self.card = card
        self.refusal = refusal
        self.names = list(names)

    def PCM(self, **_settings: object) -> Card:  # noqa: N802  # pyalsaaudio's name
        if self.card is None:
            raise CardError(self.refusal)
        self.card.condition = PREPARED
        return self.card

    def cards(self) -> list[str]:
        return self.names


def opened(card: Card) -> AlsaOutput:
    return AlsaOutput(
        "stage",
        RATE_HZ,
        PERIOD,
        n_periods=3,
        alsa=Alsa(card),
        monotonic_s=lambda: card.now / RATE_HZ,
        sleep=lambda duration_s: card.pass_time(round(duration_s * RATE_HZ)),
    )


def block(value: float) -> Any:
    return np.full(PERIOD, value, np.float32)


VERSIONS = [("0.9", False), ("0.10", True), ("0.10", False), ("0.11", True), ("0.11", False)]


@pytest.mark.parametrize(("version", "tells"), VERSIONS)
def test_first_block_is_heard_after_a_full_buffer_less_itself(version: str, tells: bool) -> None:
    card = Card(version, tells)
    output = opened(card)
    output.write(block(0.5))
    assert len(card.held) == BUFFER
    assert card.n_at_start == [BUFFER - PERIOD]  # at once: it plays from the first sample on
    card.pass_time(BUFFER)
    assert card.heard == LEAD + [0.5] * PERIOD
    assert output.n_xruns == 0


@pytest.mark.parametrize(("version", "tells"), VERSIONS)
def test_underrun_is_counted_once_and_the_buffer_filled_again(version: str, tells: bool) -> None:
    card = Card(version, tells)
    output = opened(card)
    output.write(block(0.25))
    card.pass_time(BUFFER + 1)
    output.write(block(0.5))
    assert output.n_xruns == 1
    assert len(card.held) == BUFFER
    output.write(block(0.75))
    card.pass_time(BUFFER)
    assert output.n_xruns == 1
    assert card.heard == LEAD + [0.25] * PERIOD + LEAD + [0.5] * PERIOD + [0.75] * PERIOD


@pytest.mark.parametrize(("version", "tells"), VERSIONS)
def test_ten_underruns_are_ten(version: str, tells: bool) -> None:
    card = Card(version, tells)
    output = opened(card)
    for _ in range(10):
        output.write(block(0.5))
        card.tells = tells
        card.pass_time(BUFFER + PERIOD)
    output.write(block(0.5))
    assert output.n_xruns == 10


def test_after_the_wait_a_period_fits_at_once_and_the_others_are_queued() -> None:
    card = Card("0.11", tells=True)
    output = opened(card)
    for index in range(10):
        output.wait()
        before = card.now
        output.write(block(0.5))
        assert (card.now, before) == (index * PERIOD, index * PERIOD)
        assert len(card.held) == BUFFER
    assert output.n_xruns == 0


@pytest.mark.parametrize(("version", "tells"), VERSIONS)
def test_nothing_is_waited_for_after_an_underrun(version: str, tells: bool) -> None:
    card = Card(version, tells)
    output = opened(card)
    output.wait()
    output.write(block(0.25))
    card.pass_time(BUFFER + 1)
    output.wait()
    output.write(block(0.5))
    assert card.now == BUFFER + 1
    assert output.n_xruns == 1
    assert card.held == LEAD + [0.5] * PERIOD


def test_a_card_that_says_ready_too_soon_is_not_asked_again_and_again() -> None:
    class Eager(Card):
        n_asked = 0

        def polldescriptors_revents(self, ready: list[tuple[int, int]]) -> int:
            self.n_asked += len(ready)
            return select.POLLOUT

    card = Eager("0.11", tells=True)
    output = opened(card)
    output.write(block(0.5))
    output.wait()
    assert (card.now, card.n_asked) == (PERIOD, 1)


def test_a_card_that_stands_still_is_waited_for_a_tenth_of_a_second_and_given_up_after_three() -> None:
    class Still(Card):
        def pass_time(self, n_samples: int) -> None:
            self.now += n_samples

    card = Still("0.11", tells=True)
    output = opened(card)
    output.write(block(0.5))
    output.wait()
    assert PERIOD < card.now <= 0.1 * RATE_HZ + PERIOD
    with pytest.raises(AudioError, match="'stage' stands still: unplug it and plug it in again"):
        output.write(block(0.5))
    assert card.now <= 3.2 * RATE_HZ


def test_who_waits_for_a_card_that_is_gone_or_closed_is_told() -> None:
    class Fragile(Card):
        is_there = True

        def _avail(self) -> int:
            return super()._avail() if self.is_there else -errno.ENODEV

    card = Fragile("0.11", tells=True)
    output = opened(card)
    output.write(block(0.5))
    card.is_there = False
    with pytest.raises(AudioError, match=r"'stage' is gone \(No such device\): plug it in again"):
        output.wait()
    output.close()
    with pytest.raises(AudioError, match="is closed"):
        output.wait()


def test_a_long_block_does_not_wait_until_the_card_is_empty() -> None:
    card = Card("0.11", tells=True)
    output = opened(card)
    output.write(np.full(BUFFER, 0.5, np.float32))
    output.write(np.full(10 * PERIOD, 0.5, np.float32))
    assert card.n_least_held == BUFFER - PERIOD
    assert output.n_xruns == 0


@pytest.mark.parametrize("longest_write", [1, 50, 129])
def test_short_writes_lose_nothing(longest_write: int) -> None:
    card = Card("0.11", tells=True, longest_write=longest_write)
    output = opened(card)
    sound = np.linspace(-1, 1, 5 * PERIOD, dtype=np.float32)
    for first in range(0, len(sound), PERIOD):
        output.write(sound[first : first + PERIOD])
    card.pass_time(BUFFER)
    assert card.heard == LEAD + sound.tolist()
    assert output.n_xruns == 0


def test_time_without_an_underrun_is_not_counted_by_the_clock() -> None:
    card = Card("0.9", tells=False)
    output = opened(card)
    for _ in range(20):
        output.write(block(0.5))
        card.pass_time(BUFFER - 1)
    assert output.n_xruns == 0


def test_card_that_takes_nothing_is_an_error_not_a_hang() -> None:
    output = opened(Card("0.11", tells=True, longest_write=0))
    with pytest.raises(AudioError, match="takes no sound: unplug it"):
        output.write(block(0.5))


def test_card_that_cannot_be_filled_is_an_error_not_a_hang() -> None:
    class Hopeless(Card):
        def write(self, _data: memoryview) -> int:
            return -errno.EPIPE

    output = opened(Hopeless("0.11", tells=False))
    with pytest.raises(AudioError, match="runs empty while it is filled: ask for longer or more periods"):
        output.write(block(0.5))


def test_machine_that_slept_plays_on() -> None:
    class Sleeper(Card):
        slept = True

        def write(self, data: memoryview) -> int:
            if self.slept:
                self.slept = False
                raise CardError(f"{os.strerror(errno.ESTRPIPE)} [stage]")
            return super().write(data)

    card = Sleeper("0.11", tells=False)
    output = opened(card)
    output.write(block(0.5))
    assert card.held == LEAD + [0.5] * PERIOD


def test_close_stops_first_and_survives_a_card_that_is_gone() -> None:
    class Gone(Card):
        def drop(self) -> None:
            super().drop()
            raise CardError("No such device [stage]")

    card = Gone("0.11", tells=True)
    output = opened(card)
    card.calls.clear()
    output.write(block(0.5))
    output.close()
    output.close()
    assert card.calls == ["drop", "close"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.EBUSY, "sound card 'stage' is busy: stop the program that uses it, or choose another; "),
        (errno.ENOENT, "there is no sound card 'stage': plug it in or choose another; "),
        (errno.ENODEV, "there is no sound card 'stage': plug it in or choose another; "),
        (errno.EINVAL, "sound card 'stage' cannot be used (Invalid argument [stage]): choose another; "),
    ],
)
@pytest.mark.parametrize(
    ("names", "there"),
    [
        ((), "no card is plugged in"),
        (("Device",), "there is hw:CARD=Device"),
        (("PCH", "Device"), "there are hw:CARD=PCH, hw:CARD=Device"),
    ],
)
def test_refusal_names_the_card_the_remedy_and_the_others(
    code: int, says: str, names: tuple[str, ...], there: str
) -> None:
    alsa = Alsa(refusal=f"{os.strerror(code)} [stage]", names=names)
    with pytest.raises(AudioError) as refusal:
        AlsaOutput("stage", alsa=alsa)
    assert str(refusal.value) == says + there


def test_no_permission_names_the_group() -> None:
    with pytest.raises(AudioError, match="may not be used: add this user to the group audio"):
        AlsaOutput("stage", alsa=Alsa(refusal="Permission denied [stage]"))


def test_cards_are_named_as_the_output_takes_them() -> None:
    assert list_cards(Alsa(names=("Device",))) == ["hw:CARD=Device"]
