"""What the button may do on this box, and how long things may take."""

from __future__ import annotations

from dataclasses import dataclass, field

from device.core.panel_events import CAMERA, MICROPHONE
from device.core.presses import PressSettings


@dataclass(frozen=True)
class PanelSettings:
    """What holds for one box.

    Attributes
    ----------
    is_installation : bool
        Nothing but safe mode at the start.
    record, cancel, next_model, power_off, safe_mode : bool
        Single gestures.
    presses : PressSettings
    count_in_s : float
        From the press to the beginning of the take, in seconds.
    engine_limit_s : float
        An engine that is not ready so long after it was started is tried in safe mode, in seconds.
    start_limit_s : float
        A recorder that is not ready so long after the count-in is asked to end, in seconds.
    saving_limit_s : float
        For an answer of the recorder, in seconds.
    fault_patience_s : float
        A take goes on for so long without what it needs, in seconds.
    power_off_limit_s : float
        For the system to do so, in seconds.
    safe_s : float
        How long safe mode lasts, in seconds.
    notice_s : float
        How long the light says why something was not done, in seconds.
    takes_need : frozenset of str
        Faults without which no take is made.
    only_takes_need : frozenset of str
        Faults that do not matter for playing.
    """

    is_installation: bool = False
    record: bool = True
    cancel: bool = True
    next_model: bool = True
    power_off: bool = True
    safe_mode: bool = True
    presses: PressSettings = field(default_factory=PressSettings)
    count_in_s: float = 2.0
    engine_limit_s: float = 120.0
    start_limit_s: float = 10.0
    saving_limit_s: float = 20.0
    fault_patience_s: float = 10.0
    power_off_limit_s: float = 60.0
    safe_s: float = 3600.0
    notice_s: float = 6.0
    takes_need: frozenset[str] = frozenset({CAMERA, MICROPHONE})
    only_takes_need: frozenset[str] = frozenset({MICROPHONE})
