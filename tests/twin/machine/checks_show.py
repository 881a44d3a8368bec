"""What a machine shows while it performs: it starts by itself, follows, records, and lives through what is pulled."""

from __future__ import annotations

import json
import re

import numpy as np

from tests.twin.container.box import NAME, STATE
from tests.twin.machine.box import EmulatedBox
from tests.twin.machine.follow import STEP_S, followed, levels_db, motion
from tests.twin.machine.furniture import LOOP
from tests.twin.results import Found

SPEEDS = (0, 3, 0, 2, 0, 3, 2, 0)
PHASE_S = 5
LEAST_CORRELATION = 0.6
TONE_HZ, TAKE_S = 440.0, 8.0
CARD_PLAYS_S = 3.0
CAMERA = "/sys/bus/platform/drivers/vivid"
N_FRAMES = 10
GONE_S = 40.0
"""A part that is pulled is missed within this."""
MEMORY_MIB = 320
HOG = (
    "echo $$ >/sys/fs/cgroup/system.slice/dance-sampler.service/cgroup.procs; "
    "exec python3 -IS -c 'import time; kept = b\"x\" * (600 << 20); time.sleep({seconds})'"
)


def boots(box: EmulatedBox, planted: bool) -> str:
    """Nobody does anything: it is switched on, and it performs."""
    if planted:
        box.machine.unplug_card()
    box.guest.wait_for_login()
    box.performs(60.0 if planted else 300.0)
    performs_s = box.since_s(0.0)
    light = box.light()
    assert min(light) == 1.0, f"the LED is not lit: {light}"
    return f"performs {performs_s:.0f} s after it was switched on (emulated); the LED is lit"


def budget(box: EmulatedBox, planted: bool) -> str:
    """How long each stage took, and what the service waited for."""
    if planted:
        box.guest.put(f"/etc/systemd/system/{NAME}.service.d/late.conf", "[Unit]\nAfter=network-online.target\n")
        box.guest.run("systemctl daemon-reload")
    try:
        waits = set(box.guest.run(f"systemctl show -p After --value {NAME}").split())
    finally:
        box.guest.run(f"rm -f /etc/systemd/system/{NAME}.service.d/late.conf; systemctl daemon-reload")
    late = {each for each in waits if re.match(r"network|systemd-networkd|time-sync|getty|multi-user", each)}
    assert not late, f"the service waits for {', '.join(sorted(late))}"
    stages = box.guest.run(f"systemctl show -p ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic {NAME}")
    at_s = {name: int(value) / 1e6 for name, value in (line.split("=") for line in stages.splitlines())}
    manager = box.guest.run("systemctl show -p UserspaceTimestampMonotonic --value").strip()
    kernel_s, program_s = int(manager) / 1e6, at_s["ExecMainStartTimestampMonotonic"]
    ready_s = at_s["ActiveEnterTimestampMonotonic"]
    return (
        f"emulated: kernel {kernel_s:.0f} s, systemd until the program's start {program_s - kernel_s:.0f} s, "
        f"from there to the first block {ready_s - program_s:.0f} s; it waits for disk, user and udev only"
    )


def follows(box: EmulatedBox, planted: bool) -> Found:
    """What the camera shows moves and stands still; how loud the card played, by the machine's clock."""
    box.performs()
    moves, written = box.dance("/dev/video1" if planted else "/dev/video0", PHASE_S, SPEEDS)
    times_s = np.arange(moves[0][0], moves[-1][0], STEP_S)
    found = followed(motion(moves, times_s[:-1]), levels_db(box.played(), written, times_s))
    shown = (
        f"rank correlation of motion and loudness {found.correlation:.2f}, {found.lag_s:.1f} s behind (emulated); "
        f"still {found.still_db:.0f} dBFS, moving {found.moving_db:.0f} dBFS"
    )
    assert found.correlation >= LEAST_CORRELATION, shown
    assert found.moving_db > found.still_db + 10.0, shown
    return Found(shown, len(SPEEDS))


def records(box: EmulatedBox, planted: bool) -> str:
    """A press, a dance to a tone, a press: what lies on the disk then."""
    box.performs()
    before = box.takes()
    tone = (
        f"speaker-test -D {LOOP.replace('hw:', 'plughw:')},DEV=0 -c 2 -r 48000 -t sine -f {TONE_HZ:g} >/dev/null 2>&1"
    )
    box.guest.run(f"nohup timeout 600 {tone} >/dev/null 2>&1 & echo $! >/run/tone")
    try:
        press = f"twin-press {0.001 if planted else 0.3}"  # a contact that only bounces is no press
        box.guest.run(press)
        box.until_state("recording", patience_s=20.0 if planted else 60.0)
        light = box.light()
        assert 0.2 < sum(light) / len(light) < 0.8, f"the LED does not blink: {light}"
        box.until("some of it is recorded", lambda said: said["take"] and said["take"]["seconds"] > TAKE_S)
        box.guest.run("twin-dance /dev/video0 3 3")
        box.press()
        box.until("the take is saved", lambda said: said["state"] != "recording" and not said["take"])
    finally:
        box.guest.ask("pkill -F /run/tone")
    taken = sorted(set(box.takes()) - set(before))
    assert len(taken) == 1, f"takes before {before}, then {box.takes()}"
    verified = box.guest.run("dance-sampler takes verify")
    take = json.loads(box.guest.run(f"cat {STATE}/takes/{taken[0]}/take.json"))
    assert take["n_columns"] > 0, "the take has no motion"
    assert take["notes"]["peak_dbfs"] > -60.0, f"the take has no sound: {take['notes']}"
    box.performs()
    return f"{take['n_samples'] / take['rate_hz']:.0f} s with {take['n_columns']} columns; {verified.splitlines()[-1]}"


def card_returns(box: EmulatedBox, planted: bool) -> str:
    """The USB card is pulled out of the running machine, and put in again."""
    box.performs()
    box.machine.unplug_card()
    box.until("the card is missed", lambda said: "card" in said["missing"], GONE_S)
    light = box.light()
    box.work.eventually(lambda: box.guest.tries("! test -e /proc/asound/Audio"), "the kernel has let it go", GONE_S)
    try:
        begun_s = box.clock_s()
        if not planted:
            box.machine.plug_card()
        box.performs(20.0 if planted else 120.0)
        back_s = box.since_s(begun_s)
    finally:
        if planted:
            box.machine.plug_card()
    played_s = box.machine.played_s()
    box.work.eventually(lambda: box.machine.played_s() > played_s + CARD_PLAYS_S, "the card plays on", 60.0)
    assert min(light) < 1.0, f"the LED said nothing: {light}"
    return f"missed, and {back_s:.0f} s after its return it performs (emulated)"


def camera_returns(box: EmulatedBox, planted: bool) -> str:
    """The camera is torn from its driver while it is watched, and given back."""
    box.performs()
    box.guest.run(f"echo vivid.0 >{CAMERA}/unbind")
    box.until("the camera is missed", lambda said: "camera" in said["missing"], GONE_S)
    try:
        begun_s = box.clock_s()
        if not planted:
            box.guest.run(f"echo vivid.0 >{CAMERA}/bind")
        box.performs(20.0 if planted else 120.0)
        back_s = box.since_s(begun_s)
    finally:
        if planted:
            box.guest.run(f"echo vivid.0 >{CAMERA}/bind")
    seen = box.status()["n_frames"]
    box.until("frames come", lambda said: said["n_frames"] > seen + 5)
    return f"missed, and {back_s:.0f} s after its return it performs (emulated)"


def pi_camera(box: EmulatedBox, planted: bool) -> str:
    """A camera that libcamera knows, through unmodified picamera2, in the service's own sandbox."""
    box.guest.wait_for_login()
    if not planted:
        box.guest.run("modprobe vimc")
    chosen = box.guest.ask("dance-sampler setup --camera picamera2 --no-tone 2>&1")
    assert "camera.source = picamera2" in chosen, f"it cannot be chosen: {chosen.strip().splitlines()[-1:]}"
    box.restart()
    try:
        box.until_state("performing", patience_s=30.0 if planted else 300.0)
        seen = box.status()["n_frames"]
        box.until("frames come", lambda said: said["n_frames"] >= seen + N_FRAMES and not said["missing"])
        log = box.guest.run(f"journalctl -t {NAME} -o cat -b --no-pager")
    finally:
        box.guest.run("dance-sampler setup --camera v4l2:/dev/video0 --no-tone")
        box.restart()
    opened = [line for line in log.splitlines() if re.match(r"camera .* x .* fps$", line)]
    return "; ".join([f"{N_FRAMES} frames and more", *opened[-1:]])


def limits(box: EmulatedBox, planted: bool) -> str:
    """What the kernel grants the running program, and what happens when a process of it takes all memory."""
    box.performs()
    pids = box.status()["pids"]
    sound = box.guest.run(f"cat /proc/{pids['sound']}/limits /proc/{pids['sound']}/status")
    assert re.search(r"^Max realtime priority +95 ", sound, re.MULTILINE), "no real-time priority is allowed"
    locked = re.search(r"^VmLck:\s+(\d+) kB", sound, re.MULTILINE)
    assert locked is not None, "the kernel says nothing of locked memory"
    assert int(locked[1]) > 10_000, f"the engine's memory is not locked: {locked[0]}"
    assert box.guest.run(f"cat /proc/{pids['sound']}/oom_score_adj").strip() == "-500", "no protection from OOM"
    starts = int(box.guest.run(f"systemctl show -p NRestarts --value {NAME}"))
    limit = "infinity" if planted else f"{MEMORY_MIB}M"
    box.guest.run(f"systemctl set-property --runtime {NAME} MemoryMax={limit} MemorySwapMax=0")
    try:
        box.guest.ask(HOG.format(seconds=15))
        restarted = f"test $(systemctl show -p NRestarts --value {NAME}) -gt {starts}"
        box.work.eventually(lambda: box.guest.tries(restarted), "what grows without end is ended", 20.0)
    finally:
        box.guest.run(f"systemctl set-property --runtime {NAME} MemoryMax=infinity")
    box.performs(300.0)
    result = f"{int(locked[1]) // 1024} MiB locked, real-time priority up to 95, OOM score -500"
    return f"{result}; beyond {MEMORY_MIB} MiB (set for this) it is ended, and performs again"


def watchdog(box: EmulatedBox, planted: bool) -> str:
    """The kernel panics while it performs: the hardware resets it, and it performs again, by itself."""
    box.performs()
    if planted:
        box.guest.run(f"rm /etc/systemd/system.conf.d/60-{NAME}-watchdog.conf; systemctl daemon-reexec")
    box.machine.events.clear()
    box.guest.run("nohup sh -c 'sleep 1; echo c >/proc/sysrq-trigger' >/dev/null 2>&1 &")
    box.work.eventually(lambda: "WATCHDOG" in box.machine.hear(), "the hardware's watchdog bites", 240.0)
    box.hang_up()
    box.guest.wait_for_login()
    box.performs(300.0)
    return f"reset, and performs {box.since_s(0.0):.0f} s after that (emulated)"


def switches_off(box: EmulatedBox, planted: bool) -> str:
    """The button is held for 8 s: the machine is off."""
    box.performs()
    if planted:
        box.guest.run(f"systemctl stop {NAME}-poweroff.path")
    # The start, in which a button that is held means another thing, is over.
    box.until("it has been up for a while", lambda said: said["uptime_s"] > 30.0)
    box.guest.ask("twin-press 10")
    box.work.eventually(lambda: not box.machine.is_on, "the machine is off", 40.0 if planted else 120.0)
    log = box.machine.console.read_text(errors="replace")
    return f"off{'; cleanly' if 'Power down' in log else ''}"
