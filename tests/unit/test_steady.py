"""A card that comes and goes: the sound goes on in time, and who plays opens, closes and logs nothing."""

from __future__ import annotations

import logging
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from device.core.errors import AudioError
from device.edges.audio_fake import FakeOutput
from device.edges.model import Float32
from device.engine import steady
from device.engine.steady import SteadyOutput
from tests.hand_clock import HandClock

RATE_HZ = 48_000
PERIOD = 128


class Card(FakeOutput):
    """A fake card that knows which thread let it go."""

    closed_by = ""

    def close(self) -> None:
        self.closed_by = self.closed_by or threading.current_thread().name
        super().close()


class Socket:
    """Where cards are plugged in: gives one after the other, None for none there."""

    def __init__(self, *cards: Card | None) -> None:
        self.cards = list(cards)
        self.opened_by: list[str] = []
        self.n_tries = 0
        self.may_open = threading.Event()
        self.may_open.set()

    def open(self) -> Card:
        self.opened_by.append(threading.current_thread().name)
        self.may_open.wait(10.0)
        self.n_tries += 1
        card = self.cards.pop(0) if self.cards else None
        if card is None:
            raise AudioError("there is no sound card: plug it in")
        return card


@pytest.fixture
def make() -> Iterator[Callable[..., SteadyOutput]]:
    made: list[SteadyOutput] = []

    def make(socket: Socket, clock: HandClock | None = None) -> SteadyOutput:
        made.append(SteadyOutput(socket.open, RATE_HZ, PERIOD, 3, clock or HandClock(), retry_s=0.001))
        return made[-1]

    yield make
    for output in made:
        output.close()


def play(output: SteadyOutput, value: float = 0.5) -> None:
    output.wait()
    output.write(np.full(output.period, value, np.float32))


def play_until(output: SteadyOutput, holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < end_s
        play(output)


def test_a_card_that_is_there_plays_from_the_first_block(make: Callable[..., SteadyOutput]) -> None:
    card = Card(period=256, n_periods=2)
    socket = Socket(card)
    socket.may_open.clear()
    threading.Timer(0.05, socket.may_open.set).start()  # a real one takes as long
    output = make(socket)
    values = [0.1, 0.2, 0.3]
    for value in values:
        play(output, value)
    assert output.is_live
    np.testing.assert_allclose(card.played, np.repeat(values, 256), rtol=1e-6)
    assert (output.period, output.buffer, output.n_lost, output.last_error) == (256, 512, 0, "")


def test_without_a_card_time_passes_as_with_one(make: Callable[..., SteadyOutput]) -> None:
    clock = HandClock()
    output = make(Socket(), clock)
    ready, written = [], []
    for _ in range(6):
        output.wait()
        ready.append(clock.n_samples(RATE_HZ))
        output.write(np.ones(PERIOD, np.float32))
        written.append(clock.n_samples(RATE_HZ))
    assert ready == [0, 0, 0, 128, 256, 384]
    assert written == ready
    assert (output.is_live, output.period, output.buffer) == (False, PERIOD, 3 * PERIOD)
    clock.time_s += 3600.0
    play(output)
    assert clock.n_samples(RATE_HZ) == 3600 * RATE_HZ + 384
    assert (output.n_xruns, output.n_lost) == (0, 0)


def test_without_a_card_blocks_of_any_length_pass_in_their_time_without_a_wait(
    make: Callable[..., SteadyOutput],
) -> None:
    clock = HandClock()
    output = make(Socket(), clock)
    for n in (1000, 10, 300, 5000):
        output.write(np.ones(n, np.float32))
    assert clock.n_samples(RATE_HZ) == 6310 - 3 * PERIOD


def test_absent_at_first_it_plays_when_it_comes(make: Callable[..., SteadyOutput]) -> None:
    card = Card()
    output = make(Socket(None, None, None, card))
    assert not output.is_live
    play_until(output, lambda: output.is_live)
    play(output, 0.75)
    assert card.played[-1] == 0.75
    assert (output.n_lost, output.last_error) == (0, "there is no sound card: plug it in")


def test_taken_away_while_playing_it_comes_back(make: Callable[..., SteadyOutput]) -> None:
    first, second = Card(n_blocks=5), Card(period=64, n_periods=4)
    socket = Socket(first, None, None, second)
    output = make(socket)
    play_until(output, lambda: output.n_lost == 1)
    assert not output.is_live
    assert (output.period, output.buffer) == (PERIOD, 3 * PERIOD)
    play_until(output, lambda: output.is_live)
    assert (output.period, output.buffer) == (64, 256)
    play(output, 0.75)
    assert second.played[-1] == 0.75
    assert (first.closed_by, second.closed_by) == ("sound card", "")
    assert set(socket.opened_by) == {"sound card"}


def test_lost_in_the_write_its_block_takes_its_time(make: Callable[..., SteadyOutput]) -> None:
    clock = HandClock()
    card = Card(n_blocks=2)
    output = make(Socket(card), clock)
    for _ in range(7):
        output.write(np.ones(PERIOD, np.float32))
    assert output.n_lost == 1
    assert clock.n_samples(RATE_HZ) == 2 * PERIOD  # two were heard at once, three fill the buffer, two are waited for
    play_until(output, lambda: card.closed)
    assert card.closed_by == "sound card"


def test_underruns_of_all_cards_are_counted(make: Callable[..., SteadyOutput]) -> None:
    first, second = Card(n_blocks=10), Card()
    output = make(Socket(first, second))
    play(output)
    first.lose_time()
    first.lose_time()
    play(output)
    assert output.n_xruns == 2
    first.lose_time()
    play_until(output, lambda: output.n_lost == 1 and output.is_live)
    second.lose_time()
    play(output)
    assert output.n_xruns == 4


def test_opening_may_hang_and_nobody_waits_for_it(make: Callable[..., SteadyOutput]) -> None:
    socket = Socket(Card(n_blocks=1), Card())
    output = make(socket)
    socket.may_open.clear()
    play_until(output, lambda: len(socket.opened_by) == 2)
    for _ in range(1000):
        play(output)
    assert not output.is_live
    socket.may_open.set()
    play_until(output, lambda: output.is_live)


def test_a_loss_is_one_line_in_the_log_and_never_by_who_plays(
    make: Callable[..., SteadyOutput], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "device.engine.steady")
    socket = Socket(None, None, None, Card(n_blocks=3), None, None, None, Card(n_blocks=3))
    output = make(socket)
    play_until(output, lambda: output.n_lost == 2 and socket.n_tries > 12)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    missing = ("WARNING", "there is no sound card: plug it in; until then all is silent")
    gone = ("WARNING", "the sound card is gone: plug it in again; until then all is silent")
    back = ("INFO", "the sound card is there")
    assert said == [missing, back, gone, back, gone]
    assert {record.threadName for record in caplog.records} == {"sound card"}
    assert "\n" not in output.last_error


def test_a_card_of_another_rate_is_as_good_as_none(make: Callable[..., SteadyOutput]) -> None:
    card = Card(rate_hz=44_100)
    output = make(Socket(*[card] * 100_000))
    play(output)
    assert not output.is_live
    assert card.closed
    assert output.last_error == "the sound card runs at 44100 Hz, not at 48000: set audio.rate_hz"


def test_closing_lets_the_card_go_and_ends_the_search(make: Callable[..., SteadyOutput]) -> None:
    card = Card()
    playing, missing = make(Socket(card)), make(Socket())
    play(playing)
    for output in (playing, missing):
        output.close()
        output.close()
        for use in (output.wait, lambda output=output: output.write(np.zeros(PERIOD, np.float32))):
            with pytest.raises(AudioError, match="is closed"):
                use()
    assert card.closed
    assert "sound card" not in {thread.name for thread in threading.enumerate()}


def test_a_card_that_comes_after_closing_is_let_go(
    make: Callable[..., SteadyOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steady, "_FAREWELL_S", 0.0)
    late = Card()
    socket = Socket(Card(n_blocks=1), late)
    output = make(socket)
    socket.may_open.clear()
    play_until(output, lambda: len(socket.opened_by) == 2)
    output.close()
    socket.may_open.set()
    (side,) = [thread for thread in threading.enumerate() if thread.name == "sound card"]
    side.join(10.0)
    assert late.closed


class Mute(FakeOutput):
    """A card that keeps nothing."""

    def write(self, block: Float32) -> None:
        assert len(block) == self.period


@pytest.mark.parametrize("is_there", [True, False])
def test_playing_sets_no_memory_aside(is_there: bool) -> None:
    def open_card() -> FakeOutput:
        if is_there:
            return Mute()
        raise AudioError("there is no sound card: plug it in")

    output = SteadyOutput(open_card, RATE_HZ, PERIOD, 3, HandClock(), retry_s=60.0)
    block = np.ones(PERIOD, np.float32)
    output.write(block)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(2000):
        output.wait()
        output.write(block)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    output.close()
    assert after - before < 8192  # the smallest object kept at each block would be 32,000
