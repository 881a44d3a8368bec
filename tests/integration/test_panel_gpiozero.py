"""Button and LED on gpiozero's own mock pins, and on a GPIO chip that is a fake: pressed, seen, and refused."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from device.core.errors import PanelError
from device.core.lights import Light
from device.edges import panel_gpiozero
from device.edges.panel import PanelEdge, PanelPins
from device.edges.panel_gpiozero import GpiozeroPanel, open_panel
from device.edges.panel_mock import WatchedMockFactory
from device.edges.panel_none import NoPanel
from device.edges.pins_gpiod import GpiodFactory
from tests.eventually import eventually
from tests.fake_gpiod import FakeChip
from tests.mock_panel import MockPanel

ROOT = Path(__file__).parents[2]
MOCK = PanelPins(factory="mock")


class Edges(list[tuple[bool, float]]):
    """What was told to the supervisor."""

    def __call__(self, is_down: bool, time_s: float) -> None:
        self.append((is_down, time_s))

    @property
    def levels(self) -> list[bool]:
        return [is_down for is_down, _ in self]


@contextmanager
def opened(pins: PanelPins, edges: Edges | None = None) -> Iterator[tuple[PanelEdge, Any]]:
    """Give a panel on mock pins, and the pins' factory."""
    factory = WatchedMockFactory()
    with closing(GpiozeroPanel(pins, factory, "mock", edges if edges is not None else Edges())) as panel:
        yield panel, factory


@pytest.mark.parametrize("pressed", ["low", "high"])
@pytest.mark.parametrize("pull", ["up", "down", "none"])
def test_the_button_is_heard_with_every_pull_and_polarity(pull: str, pressed: str) -> None:
    edges = Edges()
    with opened(replace(MOCK, button_pull=pull, button_pressed=pressed), edges) as (_, factory):
        pin = factory.pin("17")
        assert pin.pull == {"none": "floating"}.get(pull, pull)
        released, down = (pin.drive_high, pin.drive_low) if pressed == "low" else (pin.drive_low, pin.drive_high)
        released()
        edges.clear()
        before_s = time.monotonic()
        down()
        released()
        assert edges.levels == [True, False]
        assert before_s <= edges[0][1] <= edges[1][1] <= time.monotonic()


def test_no_bounce_is_kept_from_the_core() -> None:
    edges = Edges()
    with opened(MOCK, edges) as (_, factory):
        pin = factory.pin("17")
        for _ in range(50):
            pin.drive_low()
            pin.drive_high()
        assert edges.levels == [True, False] * 50
        assert pin.bounce is None


def test_a_button_that_is_held_when_it_is_opened_is_told_at_once() -> None:
    edges = Edges()
    with opened(replace(MOCK, button_pull="down"), edges) as (_, factory):
        assert edges.levels == [True]
        factory.pin("17").drive_high()
        assert edges.levels == [True, False]


def test_after_closing_nothing_is_heard_and_the_led_is_dark() -> None:
    edges = Edges()
    with opened(MOCK, edges) as (panel, factory):
        led, button = factory.pin("27"), factory.pin("17")
        panel.show(Light.PERFORMING)
        eventually(lambda: led.state == 1.0, "the LED is lit")
        panel.close()
        assert led.state == 0.0
        button.drive_low()
        assert edges == []
        panel.close()
        panel.show(Light.FAULT)


def test_an_led_is_dimmed_where_the_pin_can_do_it() -> None:
    with opened(MOCK) as (panel, factory):
        led = factory.pin("27")
        panel.show(Light.STARTING)
        eventually(lambda: 0.2 < led.state < 0.4, "it is between dark and lit")
        panel.shine(0.25)
        eventually(lambda: led.state == 0.25, "it is set by hand")
        panel.show(Light.STARTING)
        eventually(lambda: led.state not in (0.25, 0.0), "it breathes again")


@pytest.mark.parametrize(("lit", "dark_level"), [("high", 0.0), ("low", 1.0)])
def test_an_led_to_the_plus_pole_is_lit_by_a_low_pin(lit: str, dark_level: float) -> None:
    with opened(replace(MOCK, led_lit=lit)) as (panel, factory):
        led = factory.pin("27")
        assert led.state == dark_level
        panel.show(Light.PERFORMING)
        eventually(lambda: led.state == 1.0 - dark_level, "the LED is lit")
        panel.show(Light.DARK)
        eventually(lambda: led.state == dark_level, "the LED is dark")


def test_on_a_chip_without_dimming_the_led_is_on_or_off_and_the_button_is_heard_all_the_same() -> None:
    chip, edges = FakeChip("BUTTON", "LAMP"), Edges()
    pins = PanelPins(factory="gpiod", button="BUTTON", led="LAMP", chip="/dev/gpiochip3")
    factory = GpiodFactory(pins.chip, lambda _path: chip)
    with closing(GpiozeroPanel(pins, factory, "gpiod", edges)) as panel:
        assert panel.description == "button on BUTTON and LED on LAMP, driven by gpiod"
        chip.drive(0, 0)
        chip.drive(0, None)
        eventually(lambda: edges.levels == [True, False], "a press was heard")
        panel.shine(0.6)
        eventually(lambda: chip.lines[1].level == 1, "more than a half is on")
        panel.shine(0.4)
        eventually(lambda: chip.lines[1].level == 0, "less than a half is off")
        panel.show(Light.PERFORMING)
        eventually(lambda: chip.lines[1].level == 1, "the LED is lit")
    assert (chip.lines[1].output, chip.is_closed) == (0, True)


def test_an_edge_has_the_time_at_which_the_kernel_saw_it_and_a_strange_clock_is_not_believed() -> None:
    age_s = [3.0]
    chip = FakeChip("BUTTON", now_s=lambda: time.monotonic() - age_s[0])
    edges = Edges()
    factory = GpiodFactory(None, lambda _path: chip)
    with closing(GpiozeroPanel(PanelPins(button="BUTTON", led=""), factory, "gpiod", edges)):
        for expected_s, told_s in ((3.0, 3.0), (0.0, -1e9), (0.0, 1e9)):
            edges.clear()
            age_s[0] = told_s
            chip.drive(0, 0)
            chip.drive(0, None)
            eventually(lambda: len(edges) == 2, "a press was heard")
            late_s = time.monotonic() - edges[0][1]
            assert expected_s <= late_s < expected_s + 2.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"button": "99"}, "panel.button = 99 cannot be used: 99 is not a valid pin name; name another pin"),
        ({"led": "GND"}, "panel.led = GND cannot be used"),
        ({"led": "GPIO17"}, "panel.led = GPIO17 cannot be used: pin GPIO17 is already in use"),
        ({"button": "2", "button_pull": "down"}, "panel.button = 2 cannot be used: GPIO2 has a fixed pull"),
    ],
)
def test_a_wrong_pin_is_one_line_that_names_it_and_leaves_nothing_open(change: dict[str, str], said: str) -> None:
    n_threads = threading.active_count()
    changed: dict[str, Any] = change
    with pytest.raises(PanelError, match=said) as caught, opened(replace(MOCK, **changed)):
        pass
    assert "\n" not in str(caught.value)
    assert threading.active_count() == n_threads


def test_after_a_wrong_pin_the_others_are_let_go() -> None:
    chip = FakeChip("BUTTON")
    pins = PanelPins(factory="gpiod", button="BUTTON", led="LAMP")
    with pytest.raises(PanelError, match=r"panel\.led = LAMP cannot be used: LAMP is no line of /dev/gpiochip0"):
        GpiozeroPanel(pins, GpiodFactory(pins.chip, lambda _path: chip), "gpiod", Edges())
    assert (chip.lines[0].request, chip.is_closed) == (None, True)


@pytest.mark.parametrize(("button", "led"), [("17", ""), ("", "27")])
def test_a_box_may_have_a_button_alone_or_an_led_alone(button: str, led: str) -> None:
    edges = Edges()
    with opened(replace(MOCK, button=button, led=led), edges) as (panel, factory):
        panel.show(Light.PERFORMING)
        if led:
            eventually(lambda: factory.pin(led).state == 1.0, "the LED is lit")
        else:
            factory.pin(button).drive_low()
            assert edges.levels == [True]
        assert panel.description == f"{'button on 17' if button else 'LED on 27'}, driven by mock"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    return tmp_path / "model"


def test_a_machine_that_is_no_pi_plays_without_a_panel_and_says_so(board: Path) -> None:
    for model in (None, b"NVIDIA Jetson Orin Nano\0"):
        if model is not None:
            board.write_bytes(model)
        panel = open_panel(PanelPins(), Edges(), board)
        assert isinstance(panel, NoPanel)
        assert panel.description.startswith("no button, no LED: this is no Raspberry Pi; for pins of another board set")
        panel.show(Light.FAULT)
        panel.close()


def test_on_a_pi_the_driver_is_lgpio_and_nothing_else_is_tried(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def factory(name: str, _chip: str) -> WatchedMockFactory:
        asked.append(name)
        return WatchedMockFactory()

    monkeypatch.setattr(panel_gpiozero, "open_factory", factory)
    board.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    open_panel(PanelPins(), Edges(), board).close()
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "native")
    open_panel(PanelPins(), Edges(), board).close()
    open_panel(PanelPins(factory="gpiod"), Edges(), board).close()
    assert asked == ["lgpio", "native", "gpiod"]


def test_a_driver_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match=r"there is no pin factory abacus: set panel\.factory to"):
        open_panel(PanelPins(factory="abacus"), Edges())
    with pytest.raises(PanelError, match=r"the pin driver rpigpio cannot be used: .*install it"):
        open_panel(PanelPins(factory="rpigpio"), Edges())
    with pytest.raises(PanelError, match="none cannot be opened"):
        open_panel(PanelPins(factory="gpiod", chip=str(tmp_path / "none")), Edges())


@pytest.mark.skipif(find_spec("lgpio") is None, reason="lgpio has no wheel for this Python")
@pytest.mark.parametrize("has_folder", [False, True])
def test_lgpio_leaves_nothing_in_the_working_directory_and_leaves_it_where_it_was(
    tmp_path: Path, has_folder: bool
) -> None:
    here, temporary, named = (tmp_path / name for name in ("here", "temporary", "named"))
    for folder in (here, temporary, named):
        folder.mkdir()
    program = (
        "import os\nfrom device.core.errors import PanelError\nfrom device.edges.panel_gpiozero import open_factory\n"
        "try:\n    open_factory('lgpio', '')\nexcept PanelError as error:\n    print(error)\n"
        "import sys\nassert 'lgpio' in sys.modules\nprint(os.getcwd())\nprint(os.environ.get('LG_WD', 'unset'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    environment.pop("LG_WD", None)
    if has_folder:
        environment["LG_WD"] = str(named)
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=here, env=environment, capture_output=True, text=True, check=True
    )
    said, where, variable = run.stdout.splitlines()
    assert said.startswith("the pin driver lgpio cannot be used: ")
    assert (where, variable) == (str(here), str(named) if has_folder else "unset")
    assert (list(here.iterdir()), list(temporary.iterdir())) == ([], [])


def test_pins_are_pressed_and_watched_from_another_process(tmp_path: Path) -> None:
    path = tmp_path / "panel"
    program = (
        "import queue, sys\nfrom device.core.lights import Light\nfrom device.edges.panel import PanelPins\n"
        "from device.edges.panel_gpiozero import open_panel\nedges = queue.Queue()\n"
        "pins = PanelPins(factory='mock', mock_control=sys.argv[1])\n"
        "panel = open_panel(pins, lambda is_down, time_s: edges.put(is_down))\n"
        "for light in (Light.PERFORMING, Light.RECORDING):\n"
        "    edges.get()\n    panel.show(light)\n"
        "sys.stdin.read()\npanel.close()\n"
    )
    box = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT, stdin=subprocess.PIPE)
    try:
        with closing(MockPanel(path)) as panel, closing(MockPanel(path)) as other:
            eventually(lambda: panel.brightness == 0.0, "the LED is dark")
            panel.push(True)
            eventually(lambda: other.shows(Light.PERFORMING), "it is lit, and everybody sees it")
            panel.push(False)
            eventually(lambda: panel.shows(Light.RECORDING, 3.0), "it blinks")
            assert not panel.shows(Light.SAVING, 3.0)
            assert not panel.shows(Light.PERFORMING, 3.0)
            assert box.stdin is not None
            box.stdin.close()
            eventually(lambda: panel.brightness == 0.0 and box.poll() is not None, "it ends with a dark LED")
        assert box.returncode == 0
        assert not path.exists()
    finally:
        box.kill()
        box.wait()


@pytest.mark.parametrize("level", ["low", "high"])
def test_through_the_socket_down_is_down_and_lit_is_lit_whatever_the_polarity(tmp_path: Path, level: str) -> None:
    edges = Edges()
    pins = replace(MOCK, mock_control=str(tmp_path / "panel"), led_lit=level, button_pressed=level, button_pull="none")
    with closing(open_panel(pins, edges)) as panel, closing(MockPanel(tmp_path / "panel")) as finger:
        finger.push(False)
        finger.push(True)
        eventually(lambda: edges.levels[-1:] == [True], "it is down")
        finger.push(False)
        eventually(lambda: edges.levels[-1:] == [False], "it is up")
        panel.shine(0.25)
        eventually(lambda: finger.brightness == 0.25, "it is a little lit")


def test_who_talks_nonsense_to_the_mock_button_is_not_listened_to(tmp_path: Path) -> None:
    path, edges = tmp_path / "panel", Edges()
    path.touch()  # Left by one that was killed.
    with closing(open_panel(replace(MOCK, mock_control=str(path)), edges)):
        for said in (b"down\nsideways\nup\n", b"x" * 5000, b""):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20.0)
                client.connect(str(path))
                client.sendall(said)
                if not said:
                    client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):  # It left what it did not want to read.
                    while client.recv(4096):
                        pass
        assert edges.levels == [True]
        with closing(MockPanel(path)) as panel:
            panel.push(False)
            eventually(lambda: edges.levels == [True, False], "it is still there for others")


def test_a_socket_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match=r"panel\.mock_control = .*nowhere/panel cannot be used.*name another socket"):
        open_panel(replace(MOCK, mock_control=str(tmp_path / "nowhere/panel")), Edges())
