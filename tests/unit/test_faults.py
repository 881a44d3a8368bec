"""Faults come and go: the panel, the status and whoever is told hear of each once."""

from __future__ import annotations

from device.box.faults import N_KEPT, Faults
from device.core.panel_events import FaultBegins, FaultEnds


class Told:
    """Keeps what was told."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bool, str]] = []

    def __call__(self, name: str, is_on: bool, what: str) -> None:
        self.all.append((name, is_on, what))


def test_a_fault_is_told_when_it_begins_and_when_it_ends() -> None:
    told = Told()
    faults = Faults(told)
    assert faults.see({"camera": "no frames"}, 1.0) == [FaultBegins("camera")]
    assert faults.see({"camera": "still no frames"}, 2.0) == []
    assert faults.now == {"camera": "still no frames"}
    assert faults.see({"card": "gone"}, 3.0) == [FaultEnds("camera"), FaultBegins("card")]
    assert [(name, is_on) for name, is_on, _ in told.all] == [("camera", True), ("camera", False), ("card", True)]


def test_what_was_never_set_up_is_told_to_the_panel_alone() -> None:
    told = Told()
    faults = Faults(told, frozenset({"microphone"}))
    assert faults.see({"microphone": "none is configured"}, 1.0) == [FaultBegins("microphone")]
    assert told.all == []
    assert faults.history(2.0) == []


def test_the_last_faults_are_kept_with_their_ages() -> None:
    faults = Faults(Told())
    for second in range(N_KEPT + 5):
        faults.see({"camera": f"fault {second}"}, float(second))
        faults.see({}, second + 0.5)
    history = faults.history(100.0)
    assert len(history) == N_KEPT
    assert history[-1]["what"] == f"fault {N_KEPT + 4}"
    assert history[-1]["age_s"] == 100.0 - (N_KEPT + 4)
