"""The LED's thread: it shows what was asked for last, sleeps when nothing changes, and never stops the show."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from device.core.lights import Light
from device.edges.light_player import LightPlayer
from tests.eventually import eventually


class Led:
    """Keeps what it was set to; can break, and can be slow."""

    def __init__(self) -> None:
        self.levels: list[float] = []
        self.is_broken = False
        self.n_failed = 0
        self.is_being_set = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def set(self, level: float) -> None:
        self.is_being_set.set()
        assert self.may_go_on.wait(20.0)
        if self.is_broken:
            self.n_failed += 1
            raise RuntimeError("GPIO busy")
        self.levels.append(level)


@contextmanager
def played() -> Iterator[tuple[LightPlayer, Led]]:
    led = Led()
    with closing(LightPlayer(led.set)) as player:
        yield player, led


def led_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "led"]


def test_it_shows_what_was_asked_for_last_and_is_dark_at_the_end() -> None:
    with played() as (player, led):
        for light in (Light.FAULT, Light.RECORDING, Light.PERFORMING):
            player.show(light)
        eventually(lambda: led.levels[-1:] == [1.0], "it is lit")
    assert led.levels[-1] == 0.0
    assert led_threads() == []


def test_a_blink_is_set_twice_a_period_and_begins_with_its_first_flash() -> None:
    with played() as (player, led):
        player.show(Light.PERFORMING)
        eventually(lambda: led.levels[-1:] == [1.0], "it is lit")
        player.show(Light.RECORDING)
        eventually(lambda: len(led.levels) >= 5, "it has blinked twice")
    assert led.levels[:5] in ([0.0, 1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0, 1.0])


def test_what_it_shows_already_it_goes_on_to_show() -> None:
    with played() as (player, led):
        player.show(Light.RECORDING)

        def said_again() -> bool:
            player.show(Light.RECORDING)  # as a supervisor does at every turn
            return led.levels[-2:] == [1.0, 0.0]

        eventually(said_again, "its first flash ends")


def test_steady_light_wakes_nobody() -> None:
    with played() as (player, led):
        player.show(Light.PERFORMING)
        eventually(lambda: led.levels[-1:] == [1.0], "it is lit")
        waits: list[float | None] = []
        real_wait = player._news.wait

        def wait(timeout: float | None = None) -> bool:
            waits.append(timeout)
            return real_wait(timeout)

        player._news.wait = wait  # type: ignore[method-assign]
        player.shine(1.0)
        eventually(lambda: waits, "it sleeps again")
        assert waits == [None]


def test_set_by_hand_it_stays_so_until_the_next_light() -> None:
    with played() as (player, led):
        player.show(Light.PERFORMING)
        player.shine(0.3)
        eventually(lambda: led.levels[-1:] == [0.3], "it is set by hand")
        player.shine(7.0)
        eventually(lambda: led.levels[-1:] == [1.0], "no more than all")
        player.shine(0.0)
        eventually(lambda: led.levels[-1:] == [0.0], "it is dark")
        player.show(Light.PERFORMING)
        eventually(lambda: led.levels[-1:] == [1.0], "the light is shown again")


def test_an_led_that_fails_is_said_once_and_works_again_when_it_can(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), played() as (player, led):
        led.is_broken = True
        player.show(Light.LET_GO)  # 25 times a second
        eventually(lambda: led.n_failed >= 5, "it is tried again")
        led.is_broken = False
        eventually(lambda: {0.0, 1.0} <= set(led.levels), "it blinks")
    assert [record.getMessage() for record in caplog.records] == [
        "the LED cannot be set: GPIO busy; look at its pin and its driver"
    ]


def test_nobody_waits_for_a_slow_led() -> None:
    with played() as (player, led):
        eventually(lambda: led.levels == [0.0], "it is dark at first")
        led.may_go_on.clear()
        led.is_being_set.clear()
        player.show(Light.PERFORMING)
        assert led.is_being_set.wait(20.0)
        for light in (Light.FAULT, Light.STARTING, Light.DARK) * 100:
            player.show(light)
        led.may_go_on.set()
        eventually(lambda: led.levels == [0.0, 1.0, 0.0], "the last one is shown")
