"""The panel that the configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.core.errors import ConfigError
from device.core.panel_settings import PanelSettings
from device.core.presses import PressSettings
from device.edges.panel import OnEdge, PanelEdge, PanelPins
from device.edges.panel_none import NoPanel

if TYPE_CHECKING:
    from device.config import Config, PanelConfig


def panel_settings(config: Config) -> PanelSettings:
    """Give what the button may do.

    Raises
    ------
    ConfigError
        The times of presses cannot be told apart.
    """
    panel = config.panel
    return PanelSettings(
        is_installation=panel.mode == "installation",
        record=panel.record,
        cancel=panel.cancel,
        next_model=panel.next_model,
        power_off=panel.power_off,
        safe_mode=panel.safe_mode,
        presses=PressSettings(panel.debounce_s, panel.hold_s, panel.power_off_s),
        count_in_s=config.capture.count_in_s,
        fault_patience_s=panel.fault_patience_s,
        saving_limit_s=panel.saving_limit_s,
        safe_s=panel.safe_s,
    )


def panel_pins(panel: PanelConfig) -> PanelPins:
    """Give where button and LED are.

    Raises
    ------
    ConfigError
        Both are on one pin.
    """
    if panel.button and panel.button == panel.led:
        raise ConfigError(f"panel.button and panel.led are both {panel.led}: give each a pin of its own")
    return PanelPins(
        button=panel.button,
        led=panel.led,
        button_pull=panel.button_pull,
        button_pressed=panel.button_pressed,
        led_lit=panel.led_lit,
        factory=panel.factory,
        chip=panel.chip,
        mock_control=panel.mock_control,
    )


def open_panel(panel: PanelConfig, on_edge: OnEdge) -> PanelEdge:
    """Open button and LED, or none where the configuration has no pins or the machine has none.

    Raises
    ------
    PanelError
        A pin or its driver cannot be used; the message says which.
    """
    pins = panel_pins(panel)
    if not pins.button and not pins.led:
        return NoPanel("no pins are configured")
    from device.edges import panel_gpiozero

    return panel_gpiozero.open_panel(pins, on_edge)
