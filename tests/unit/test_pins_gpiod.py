"""gpiozero on the GPIO character device: its own devices work on our pins. The chip is a fake that behaves."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gpiod
import pytest
from gpiod.line import Bias, Clock, Direction, Edge
from gpiozero import LED, PWMLED, Button, InputDevice
from gpiozero.exc import (
    GPIOPinInUse,
    PinFixedPull,
    PinInvalidEdges,
    PinInvalidFunction,
    PinInvalidPin,
    PinInvalidPull,
    PinPWMUnsupported,
    PinSetInput,
)

from device.core.errors import PanelError
from device.edges.pins_gpiod import CHIP_VARIABLE, GpiodFactory
from tests.eventually import eventually
from tests.fake_gpiod import FakeChip

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chip() -> FakeChip:
    return FakeChip("PA.00", None, "1", "LED", "NC", "NC")


@pytest.fixture
def factory(chip: FakeChip) -> Iterator[GpiodFactory]:
    def open_chip(path: str) -> FakeChip:
        assert path == "/dev/gpiochip7"
        return chip

    with GpiodFactory("/dev/gpiochip7", open_chip) as factory:
        yield factory
    assert chip.is_closed
    assert all(line.request is None for line in chip.lines)


@pytest.mark.parametrize(
    ("name", "offset"), [("PA.00", 0), (0, 0), ("0", 0), (1, 1), ("line 1", 1), ("1", 2), ("LED", 3)]
)
def test_a_line_is_found_by_its_number_and_its_name_and_a_name_goes_before_a_number(
    factory: GpiodFactory, name: int | str, offset: int
) -> None:
    assert factory.pin(name).info.number == offset
    assert factory.pin(name) is factory.pin(offset)


@pytest.mark.parametrize("name", ["GPIO17", 6, "6", -1, ""])
def test_a_line_that_is_not_there_is_named(factory: GpiodFactory, name: int | str) -> None:
    with pytest.raises(PinInvalidPin, match=f"{name} is no line of /dev/gpiochip7"):
        factory.pin(name)


def test_a_button_is_pressed_and_released_with_the_times_of_the_kernel(factory: GpiodFactory, chip: FakeChip) -> None:
    chip.now_s = lambda: 1234.5
    button = InputDevice("PA.00", pull_up=True, pin_factory=factory)
    assert not button.is_active
    settings = chip.lines[0].settings
    assert (settings.direction, settings.bias, settings.event_clock) == (Direction.INPUT, Bias.PULL_UP, Clock.MONOTONIC)
    heard: list[tuple[float, int]] = []
    gone = threading.Event()

    def on_edge(ticks: float, state: int) -> None:
        heard.append((ticks, state))
        if len(heard) == 3:
            gone.set()

    button.pin.when_changed = on_edge
    for level in (0, 0, None, 0):  # The second changes nothing.
        chip.drive(0, level)
    assert gone.wait(20.0)
    assert heard == [(1234.5, 0), (1234.5, 1), (1234.5, 0)]
    assert button.is_active
    button.close()


@pytest.mark.parametrize(("edges", "states"), [("rising", [1, 1]), ("falling", [0]), ("both", [1, 0, 1])])
def test_only_the_edges_that_were_asked_for_are_told(
    factory: GpiodFactory, chip: FakeChip, edges: str, states: list[int]
) -> None:
    pin = factory.pin(0)
    pin.pull = "down"
    heard: list[int] = []
    told = lambda _ticks, state: heard.append(state)  # noqa: E731 - pins hold who listens weakly
    pin.edges = edges
    pin.when_changed = told
    assert pin.when_changed is told
    for level in (1, 0, 1):
        chip.drive(0, level)
    eventually(lambda: len(heard) == len(states), "all edges are told")
    pin.when_changed = None
    assert heard == states
    assert chip.lines[0].settings.edge_detection is Edge.NONE


def test_gpiozeros_button_works(factory: GpiodFactory, chip: FakeChip) -> None:
    pressed, released = threading.Event(), threading.Event()
    with Button("PA.00", pin_factory=factory) as button:
        button.when_pressed, button.when_released = pressed.set, released.set
        chip.drive(0, 0)
        assert pressed.wait(20.0)
        assert button.is_pressed
        chip.drive(0, None)
        assert released.wait(20.0)
    n_threads = len([thread for thread in threading.enumerate() if thread.name == "gpiod"])
    assert n_threads == 0


def test_gpiozeros_led_works_and_leaves_its_line_dark(factory: GpiodFactory, chip: FakeChip) -> None:
    line = chip.lines[3]
    with LED("LED", active_high=False, pin_factory=factory) as led:
        assert line.level == 1
        led.on()
        assert (line.level, led.value) == (0, 1)
        led.blink(0.01, 0.01, n=2, background=False)
        assert line.level == 1
        assert line.settings.direction is Direction.OUTPUT
    assert line.request is None


def test_an_led_is_lit_from_the_first_moment_when_it_is_to_be(factory: GpiodFactory, chip: FakeChip) -> None:
    with LED("LED", initial_value=True, pin_factory=factory):
        assert chip.lines[3].level == 1


def test_there_is_no_dimming_and_gpiozero_is_told_so(factory: GpiodFactory, chip: FakeChip) -> None:
    with pytest.raises(PinPWMUnsupported):
        PWMLED("LED", pin_factory=factory)
    assert chip.lines[3].request is None


def test_a_pin_is_for_one_device_and_then_for_another(factory: GpiodFactory) -> None:
    with LED(3, pin_factory=factory), pytest.raises(GPIOPinInUse):
        Button("LED", pin_factory=factory)
    Button("LED", pin_factory=factory).close()


def test_lines_of_the_same_name_are_told_apart_by_their_numbers(factory: GpiodFactory) -> None:
    with LED(4, pin_factory=factory), LED(5, pin_factory=factory) as other:
        assert factory.pin("NC").info.number == 4
        other.on()
        assert (factory.pin(4).state, factory.pin(5).state) == (0, 1)


def test_a_line_that_another_program_holds_is_refused(factory: GpiodFactory, chip: FakeChip) -> None:
    held = chip.request_lines({3: gpiod.LineSettings()}, consumer="other")
    with pytest.raises(OSError, match="busy"):
        LED(3, pin_factory=factory)
    held.release()


def test_what_a_pin_cannot_do_is_refused_as_gpiozero_expects(factory: GpiodFactory) -> None:
    pin = factory.pin(0)
    with pytest.raises(PinInvalidFunction):
        pin.function = "clock"
    with pytest.raises(PinInvalidPull):
        pin.pull = "sideways"
    with pytest.raises(PinInvalidEdges):
        pin.edges = "round"
    with pytest.raises(PinSetInput):
        pin.state = 1
    pin.function = "output"
    with pytest.raises(PinFixedPull):
        pin.pull = "up"
    pin.input_with_pull("up")
    assert (pin.function, pin.pull, pin.state) == ("input", "up", 1)


def test_an_output_keeps_its_state_when_edges_are_spoken_of(factory: GpiodFactory) -> None:
    pin = factory.pin(0)
    pin.output_with_state(1)
    pin.edges = "rising"
    assert pin.state == 1


def test_who_listens_is_not_kept_alive_by_its_pin(factory: GpiodFactory, chip: FakeChip) -> None:
    class Listener:
        def on_edge(self, _ticks: float, _state: int) -> None:
            raise AssertionError("nobody is there any more")

    listener = Listener()
    pin = factory.pin(0)
    pin.when_changed = listener.on_edge
    del listener
    gc.collect()
    assert pin.when_changed is None
    chip.drive(0, 1)
    pin.when_changed = None


def test_listening_can_be_ended_by_who_is_told(factory: GpiodFactory, chip: FakeChip) -> None:
    pin = factory.pin(0)
    heard: list[int] = []

    def once(_ticks: float, state: int) -> None:
        heard.append(state)
        pin.when_changed = None

    pin.when_changed = once
    chip.drive(0, 1)
    eventually(lambda: not [each for each in threading.enumerate() if each.name == "gpiod"], "the thread has ended")
    chip.drive(0, 0)
    assert heard == [1]


def test_the_time_of_an_edge_and_the_time_of_now_are_of_one_clock() -> None:
    before_s = time.monotonic()
    assert before_s <= GpiodFactory.ticks() <= time.monotonic()
    assert GpiodFactory.ticks_diff(5.0, 3.0) == 2.0


def test_without_a_chip_one_line_says_which_was_looked_for_and_what_to_do(tmp_path: Path) -> None:
    no_chip = tmp_path / "gpiochip9"
    with pytest.raises(PanelError, match=rf"{no_chip} cannot be opened: No such file.*set panel.chip") as caught:
        GpiodFactory(str(no_chip))
    assert "\n" not in str(caught.value)
    no_chip.write_text("a file")
    with pytest.raises(PanelError, match="cannot be opened"):
        GpiodFactory(str(no_chip))


def test_gpiozero_knows_the_factory_by_its_name_in_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    program = "from gpiozero import LED; LED(5)"
    chip = str(tmp_path / "none")
    environment = {**os.environ, "GPIOZERO_PIN_FACTORY": "gpiod", CHIP_VARIABLE: chip, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert f"PanelError: the GPIO chip {chip} cannot be opened" in run.stderr
