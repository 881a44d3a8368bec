"""No panel: the box plays without button and LED."""

from __future__ import annotations

from device.core.lights import Light


class NoPanel:
    """Nothing is heard, nothing is seen.

    Parameters
    ----------
    why : str
        For people.
    """

    def __init__(self, why: str) -> None:
        self.description = f"no button, no LED: {why}"

    def show(self, light: Light) -> None:
        """Show it to nobody."""

    def shine(self, brightness: float) -> None:
        """Show it to nobody."""

    def close(self) -> None:
        """Nothing is held."""
