"""The machine: the installed box as an image in an emulated PC, from a cold start, with its owner's hands on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from tests.twin.machine import checks_cold, checks_show, plugs, soak
from tests.twin.machine.box import EmulatedBox
from tests.twin.machine.image import Image, make_image
from tests.twin.results import Check, Found, Results
from tests.twin.workbench import TwinError, Workbench

LAYER = "machine"
PROGRAMS = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "systemd-nspawn", "mke2fs", "ssh", "ssh-keygen")


class Try(NamedTuple):
    """A check, and what tries it on a machine: given whether its fault is planted."""

    check: Check
    body: Callable[[EmulatedBox, bool], str | Found]


def _check(name: str, promise: str, how: str, plant: str) -> Check:
    return Check(f"{LAYER}-{name}", promise, how, LAYER, plant)


SHOW = (
    Try(
        _check(
            "boots",
            "plugged in, it performs by itself, and the LED is lit",
            "a machine with the installed image is switched on: real kernel, USB card, V4L2 camera, GPIO chip",
            "the sound card is pulled out before",
        ),
        checks_show.boots,
    ),
    Try(
        _check(
            "boot-budget",
            "nothing waits for the network; how long each stage takes is known",
            "what systemd says of the boot",
            "the service is ordered after the network",
        ),
        checks_show.budget,
    ),
    Try(
        _check(
            "follows",
            "the sound follows the body: when nobody moves, silence",
            "what the camera shows moves and stands still; how loud the USB card played, by the machine's clock",
            "another camera's picture moves",
        ),
        checks_show.follows,
    ),
    Try(
        _check(
            "records",
            "a press records, the next one saves; the LED blinks meanwhile",
            "button and LED on a GPIO chip through unmodified gpiozero and lgpio, a tone on the card's input",
            "the contact only bounces",
        ),
        checks_show.records,
    ),
    Try(
        _check(
            "card-returns",
            "a sound card that is pulled out plays again after its return",
            "the USB card is unplugged and plugged in through the machine's monitor",
            "it is not plugged in again",
        ),
        checks_show.card_returns,
    ),
    Try(
        _check(
            "camera-returns",
            "a camera that is pulled out is seen again after its return",
            "the camera is taken from its driver, and given back",
            "it is not given back",
        ),
        checks_show.camera_returns,
    ),
    Try(
        _check(
            "pi-camera",
            "a camera on the Pi's own connector is seen, in the service's sandbox",
            "unmodified picamera2 on libcamera and the kernel's simulated camera (vimc)",
            "there is no such camera",
        ),
        checks_show.pi_camera,
    ),
    Try(
        _check(
            "limits",
            "the service may take real-time priority and lock its memory; one that takes all memory starts anew",
            "what the kernel holds the running program to; a memory limit, and a process of it that grows",
            "there is no memory limit",
        ),
        checks_show.limits,
    ),
    Try(
        _check(
            "watchdog",
            "a system that is stuck is reset by the hardware's watchdog, and performs",
            "the kernel panics; the machine has a hardware watchdog (i6300esb)",
            "systemd does not feed the hardware's watchdog: its setting is removed",
        ),
        checks_show.watchdog,
    ),
    Try(
        _check(
            "switches-off",
            "the button held for 8 s switches the box off",
            "the button on the GPIO chip, until the machine is off",
            "systemd does not listen to the wish to power off",
        ),
        checks_show.switches_off,
    ),
)
COLD = (
    Try(
        _check(
            "late-parts",
            "it starts with card and camera absent, and performs as soon as both are there",
            "switched on without both; the card is plugged in through the monitor, the camera's driver is loaded",
            "the camera stays away",
        ),
        checks_cold.late_parts,
    ),
    Try(
        _check(
            "read-only",
            "with a read-only root, the card is written to only while it records",
            "the root mounted read-only, the state on a partition of its own; how much was written to each disk",
            "the root is made writable, and written to",
        ),
        checks_cold.read_only,
    ),
)
PLUGS = (
    Try(
        _check(
            "plugs",
            "whenever the plug is pulled, it performs again when it is back, with all takes and models that it had",
            "ended at random moments of recording, saving, taking a model in and changing it; its state looked at from "
            "outside, then switched on again (PULLED_PLUGS: more)",
            "no process in the machine syncs a file, and the plug is pulled when a take was said to be saved",
        ),
        plugs.hold,
    ),
)
SOAK = (Try(soak.CHECK, soak.holds),) if soak.hours() else ()
CHECKS: Sequence[Check] = [each.check for each in (*SHOW, *COLD, *PLUGS, *SOAK)]


def run(results: Results, work: Workbench) -> None:
    """Try all: on one machine what it shows, on another what it shows after a colder start."""
    if why := why_not():
        results.finish(CHECKS, why)
        return
    image = make_image(work)
    _try_all(results, work, image, "show", SHOW, {})
    cold = {"has_card": False, "append": f"ro {checks_cold.NO_CAMERA}"}
    _try_all(results, work, image, "cold", COLD, cold)
    _try_all(results, work, image, "plugs", PLUGS, {})
    _try_all(results, work, image, "soak", SOAK, {})


def why_not() -> str:
    """Say what this machine lacks, and what to do; empty if nothing."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"{', '.join(missing)} missing: make twin installs them"
    return "an image is made: run it as root" if os.geteuid() != 0 else ""


def _try_all(
    results: Results, work: Workbench, image: Image, name: str, tries: Sequence[Try], hardware: dict[str, object]
) -> None:
    """Try checks on one machine after another; on a new one after a fault was planted, or a check has failed."""
    box: EmulatedBox | None = None
    n_made = 0
    for each in tries:
        if not results.wants(each.check):
            continue
        if box is None or not box.machine.is_on:
            box, n_made = EmulatedBox(work, image, f"{name}-{n_made}", **hardware), n_made + 1  # type: ignore[arg-type]
            if each.body not in (checks_show.boots, checks_cold.late_parts):
                box.guest.wait_for_login()
        went_well = results.run(each.check, lambda planted, box=box, body=each.body: body(box, planted))  # type: ignore[misc]
        if results.planted is not None or not went_well:
            _leave(box)
            box = None
    if box is not None:
        _leave(box)


def _leave(box: EmulatedBox) -> None:
    with suppress(TwinError):
        box.switch_off()
