"""What another machine shows: its root is read-only, and it starts without card and camera."""

from __future__ import annotations

from contextlib import suppress

from tests.twin.container.box import STATE
from tests.twin.machine.box import EmulatedBox
from tests.twin.workbench import TwinError

NO_CAMERA = "modprobe.blacklist=vivid"


def late_parts(box: EmulatedBox, planted: bool) -> str:
    """It was switched on without card and camera; both are plugged in while it waits."""
    box.guest.wait_for_login()
    box.until("it misses both", lambda said: {"card", "camera"} <= set(said["missing"]), 300.0)
    begun_s = box.clock_s()
    box.machine.plug_card()
    try:
        if not planted:
            box.guest.run("modprobe vivid")
        box.performs(20.0 if planted else 180.0)
        back_s = box.since_s(begun_s)
    finally:
        if planted:
            box.guest.run("modprobe vivid")
    return f"starts without both, and performs {back_s:.0f} s after both are there (emulated)"


def read_only(box: EmulatedBox, planted: bool) -> str:
    """Its root is read-only, and a take is recorded: how much was written to each disk."""
    box.guest.wait_for_login()
    box.guest.run("modprobe vivid")
    with suppress(TwinError):  # The check before this one may have plugged it in.
        box.machine.plug_card()
    if planted:
        box.guest.run("mount -o remount,rw / && touch /written && sync")
    box.performs(300.0)
    assert planted or box.guest.run("findmnt -n -o OPTIONS /").startswith("ro"), "its root is not read-only"
    n_before = len(box.takes())
    box.press()
    box.until("some of it is recorded", lambda said: said["take"] and said["take"]["seconds"] > 3.0)
    box.press()
    box.until("the take is saved", lambda said: said["state"] != "recording" and not said["take"])
    assert len(box.takes()) == n_before + 1, f"no take was saved: {box.log(3)}"
    source = box.guest.run(f"findmnt -n -o SOURCE,FSTYPE {STATE}").split()
    assert source[1] == "ext4", f"the state is on {source}"
    box.guest.run("sync")
    disks = {each["device"]: each["stats"]["wr_bytes"] for each in box.machine.ask("query-blockstats")}
    root, state = disks["virtio0"], disks["virtio1"]
    assert root == 0, f"{root} bytes were written to the root's disk"
    assert state > 0, "nothing was written to the state's disk"
    return f"a take of some seconds: 0 bytes written to the root's disk, {state // 1024} KiB to the state's"
