"""The panel that the configuration asks for, and the fakes that stand in for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.box.panels import open_panel, panel_pins, panel_settings
from device.config import Config, load_config
from device.core.errors import ConfigError
from device.core.lights import Light
from device.core.panel import Panel
from device.core.panel_events import ButtonDown, ButtonUp, EngineReady, Tick
from device.core.panel_settings import PanelSettings
from device.core.panel_table import State
from device.edges.panel import PanelEdge, PanelPins
from device.edges.panel_fake import FakePanel
from device.edges.panel_none import NoPanel
from tests.hand_clock import HandClock

ABSENT = Path("/nonexistent/config.toml")


def configured(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load_config(file, system_path=ABSENT)


def test_the_default_configuration_is_the_panel_that_the_core_has_by_default() -> None:
    defaults = load_config(system_path=ABSENT)
    assert panel_settings(defaults) == PanelSettings()
    assert panel_pins(defaults.panel) == PanelPins()


def test_every_key_arrives_where_it_is_used(tmp_path: Path) -> None:
    switches = {"record", "cancel", "next_model", "power_off", "safe_mode"}
    for name in switches:
        made = panel_settings(configured(tmp_path, f"[panel]\n{name} = false"))
        assert {each for each in switches if not getattr(made, each)} == {name}
    made = panel_settings(
        configured(
            tmp_path,
            '[panel]\nmode = "installation"\ndebounce_s = 0.05\nhold_s = 1\npower_off_s = 4\nfault_patience_s = 5\n'
            "saving_limit_s = 6\nsafe_s = 7\n[capture]\ncount_in_s = 9",
        )
    )
    assert made.is_installation
    assert (made.presses.debounce_s, made.presses.hold_s, made.presses.long_s) == (0.05, 1.0, 4.0)
    assert (made.fault_patience_s, made.saving_limit_s, made.safe_s, made.count_in_s) == (5.0, 6.0, 7.0, 9.0)
    text = (
        '[panel]\nfactory = "gpiod"\nchip = "/dev/gpiochip2"\nbutton = "PQ.05"\nbutton_pull = "none"\n'
        'button_pressed = "high"\nled = "PQ.06"\nled_lit = "low"\nmock_control = "/tmp/x"'
    )
    pins = PanelPins("PQ.05", "PQ.06", "none", "high", "low", "gpiod", "/dev/gpiochip2", "/tmp/x")  # noqa: S108
    assert panel_pins(configured(tmp_path, text).panel) == pins


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hold_s = 9", "make debounce, hold and power-off times grow"),
        ('led = "17"', "panel.button and panel.led are both 17: give each a pin of its own"),
        ('button_pull = "sideways"', "allowed is a text, up or down or none"),
        ('mode = "exhibition"', "full or installation"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_opened(tmp_path: Path, text: str, said: str) -> None:
    def read() -> None:
        made = configured(tmp_path, f"[panel]\n{text}")
        panel_settings(made)
        panel_pins(made.panel)

    with pytest.raises(ConfigError, match=said):
        read()


def test_without_pins_there_is_no_panel_and_one_line_says_so(tmp_path: Path) -> None:
    made = configured(tmp_path, '[panel]\nbutton = ""\nled = ""')
    panel = open_panel(made.panel, lambda _is_down, _time_s: None)
    assert isinstance(panel, NoPanel)
    assert panel.description == "no button, no LED: no pins are configured"
    panel.show(Light.FAULT)
    panel.shine(1.0)
    panel.close()


def test_the_mock_panel_of_the_configuration_opens(tmp_path: Path) -> None:
    made = configured(tmp_path, '[panel]\nfactory = "mock"')
    panel = open_panel(made.panel, lambda _is_down, _time_s: None)
    assert panel.description == "button on 17 and LED on 27, driven by mock"
    panel.close()


def test_the_fake_panel_is_pressed_and_seen_like_a_real_one() -> None:
    clock = HandClock()
    state_machine = Panel(PanelSettings())
    state_machine.on(Tick(), clock.time_s)
    state_machine.on(EngineReady(), clock.time_s)
    clock.wait(5.0)
    edges: list[tuple[bool, float]] = []
    fake = FakePanel(lambda is_down, time_s: edges.append((is_down, time_s)), clock.now_s)
    panel: PanelEdge = fake
    fake.press()
    clock.wait(0.2)
    fake.release()
    clock.wait(0.1)
    for is_down, time_s in edges:
        state_machine.on(ButtonDown() if is_down else ButtonUp(), time_s)
    state_machine.on(Tick(), clock.now_s())
    assert state_machine.state is State.RECORDING
    panel.show(state_machine.light)
    panel.show(state_machine.light)
    assert fake.lights == [Light.DARK, Light.COUNT_IN]
    panel.shine(0.5)
    assert fake.brightness == 0.5
    panel.close()
    fake.press()
    assert (len(edges), fake.lights[-1]) == (2, Light.DARK)


def test_a_fake_button_may_be_held_from_the_start() -> None:
    edges: list[tuple[bool, float]] = []
    FakePanel(lambda is_down, time_s: edges.append((is_down, time_s)), HandClock(7.0).now_s, is_down=True)
    assert edges == [(True, 7.0)]
