"""The service under a real systemd: ready, watched, started again, in safe mode and out of it, switched off."""

from __future__ import annotations

import time
from itertools import pairwise

from tests.twin.container.box import CARD_IS_GONE, SERVICE, Box
from tests.twin.container.stage import LAYER, POWER_OFF_S, SAFE_S, Stage, Try
from tests.twin.results import Check

WATCHDOG_S = 20.0
"""The unit's WatchdogSec."""
READY_S = 20.0
QUIET_S = 0.5
"""A gap in the sound of so long would be heard by anybody."""


def ready_without_anything(stage: Stage, planted: bool) -> str:
    """Without card and camera the service is up, says fault, and performs as soon as both are there."""
    with stage.box(boots=False) as box:
        if planted:
            box.drop_in("[Service]\nUnsetEnvironment=NOTIFY_SOCKET\n")
        _point_camera_at(box, "/srv/dance.mp4")
        box.make_at_boot(f"f {CARD_IS_GONE}")
        box.container.boot(waits=False)
        is_active = ("systemctl", "is-active", "--quiet", SERVICE)
        took_s = box.container.eventually(lambda: box.ask(*is_active)[0] == 0, "the service is active", READY_S)
        said = box.until("camera and card are missed", state="fault")
        assert {"camera", "card"} <= set(said["missing"]), said["missing"]
        assert said["light"] == "fault", said["light"]
        box.run("rm", CARD_IS_GONE)
        box.run("cp", box.dance(), "/srv/dance.mp4")
        back_s = time.monotonic()
        box.plays()
        assert box.property("NRestarts") == "0", "it was started again"
        return f"active {took_s:.1f} s after systemd began, played {time.monotonic() - back_s:.1f} s after both came"


def watchdog(stage: Stage, planted: bool) -> str:
    """A supervisor that is stopped is ended by systemd and started again; the sound goes on until then."""
    with stage.box() as box:
        if planted:
            box.drop_in("[Service]\nWatchdogSec=0\n")
            box.restart()
        box.plays()
        pid = box.pid()
        box.kill("STOP", pid)
        stopped_s = time.monotonic()
        ended_s = box.container.eventually(lambda: box.pid() not in (pid, 0), "it is another process", 2 * WATCHDOG_S)
        result = box.run("journalctl", "-u", SERVICE, "-o", "cat", "-b")
        assert "Watchdog timeout" in result, "it was not the watchdog"
        box.plays()
        gap_s = _longest_gap_s(box, stopped_s, stopped_s + ended_s)
        assert gap_s < QUIET_S, f"the sound stopped for {gap_s:.1f} s while only the supervisor stood still"
        return f"ended and started after {ended_s:.1f} s, performs again after {time.monotonic() - stopped_s:.1f} s"


def engine_stopped(stage: Stage, planted: bool) -> str:
    """A stopped sound process is replaced, or the watchdog starts the box again: blocks flow again."""
    with stage.box() as box:
        said = box.plays()
        pid = said["pids"]["sound"]
        box.kill("STOP", box.pid() if planted else pid)
        begun_s = time.monotonic()
        box.container.eventually(
            lambda: box.status().get("pids", {}).get("sound", pid) != pid, "another one plays", 15.0
        )
        back = box.plays()
        box.container.eventually(lambda: box.status()["n_blocks"] > back["n_blocks"], "blocks are played")
        assert box.property("NRestarts") == "0", "the whole service was started again"
        return f"another process plays {time.monotonic() - begun_s:.1f} s later; the service was not started again"


def camera_hangs(stage: Stage, planted: bool) -> str:
    """A camera's process that hangs is a fault, and no more: the sound's process goes on, and the service."""
    with stage.box() as box:
        said = box.plays()
        pids = said["pids"]
        # Planted: it is not the camera that hangs.
        box.kill("STOP", pids["sound" if planted else "camera"])
        begun_s = time.monotonic()
        box.container.eventually(lambda: _pids(box) not in ({}, pids), "a process was replaced")
        after = box.plays()
        assert after["pids"]["camera"] != pids["camera"], "the camera's process was not replaced"
        assert after["pids"]["sound"] == pids["sound"], "the sound's process was replaced"
        assert (box.property("NRestarts"), after["n_restarts"]["camera"]) == ("0", 1), after["n_restarts"]
        return f"sees again {time.monotonic() - begun_s:.1f} s later; sound's process and service went on"


def crash_loop(stage: Stage, planted: bool) -> str:
    """Three starts that come to nothing end in safe mode, which says so and ends by itself."""
    with stage.box() as box:
        if planted:  # it forgets each time
            box.drop_in("[Service]\nExecStartPre=/bin/rm -f /var/lib/dance-sampler/starts.json\n")
        for _ in range(2):
            box.plays()
            _crash(box)
        box.until("it is in safe mode after the third start", state="safe", safe=True, patience_s=20.0)
        said = box.status()
        assert said["model"]["path"].endswith("/factory/bundle"), said["model"]
        assert said["light"] == "safe", said["light"]
        left_s = box.container.eventually(lambda: not box.status().get("safe", True), "safe mode ends", 4.0 * SAFE_S)
        box.plays()
        return f"safe mode at the third start; left by itself after {left_s:.0f} s (configured: {SAFE_S} s)"


def started_for_ever(stage: Stage, planted: bool) -> str:
    """However often it ends, it is started again a second later; no limit of starts is reached."""
    n_times = 12
    with stage.box() as box:
        box.plays()
        if planted:
            box.drop_in("[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=5\n")
        for number in range(n_times):
            box.container.eventually(lambda: box.pid() != 0, f"it is started, the {number + 1}. time", 15.0)
            _crash(box)
        box.container.eventually(lambda: box.status().get("state") in ("safe", "performing"), "it answers", 60.0)
        return f"killed {n_times} times, up again each time"


def button_powers_off(stage: Stage, planted: bool) -> str:
    """The button, held, switches the machine off in order; the take that was open is saved."""
    with stage.box() as box:
        if planted:
            box.run("systemctl", "stop", "dance-sampler-poweroff.path")
        box.plays()
        box.record(1.0)
        box.tap()
        box.container.eventually(lambda: box.recorded_s() > 1.0, "a second take is recorded")
        box.press("down")
        begun_s = time.monotonic()
        box.container.wait_for_its_end(POWER_OFF_S + 30.0)
        whole = sorted(
            path.parent.name for path in (box.container.root / "var/lib/dance-sampler/takes").glob("*/take.json")
        )
        assert whole == ["0001", "0002"], f"takes that are whole: {whole}"
        return (
            f"off {time.monotonic() - begun_s:.1f} s after the press began (held {POWER_OFF_S:.0f} s); both takes whole"
        )


def _crash(box: Box) -> None:
    """End the program at once, and wait until systemd has seen it."""
    pid = box.pid()
    box.kill("KILL", pid)
    box.container.eventually(lambda: box.pid() != pid, "systemd has seen it end")


def _point_camera_at(box: Box, path: str) -> None:
    config = box.container.root / "etc/dance-sampler/config.toml"
    config.write_text(config.read_text().replace(f"file:{box.dance()}", f"file:{path}"))


def _longest_gap_s(box: Box, begin_s: float, end_s: float) -> float:
    """Give the longest time without samples between two times of CLOCK_MONOTONIC."""
    times_s = [at_s for at_s, _ in box.levels() if begin_s <= at_s <= end_s - 1.0]
    return max((after - before for before, after in pairwise(times_s)), default=end_s - begin_s)


def _pids(box: Box) -> dict[str, int]:
    return dict(box.status().get("pids", {}))


TRIES = (
    Try(
        Check(
            "ready", "it starts without camera and sound card, says so, and performs as soon as both are there",
            "booted with neither; both come later", LAYER, "systemd is not told that it is ready",
        ),
        ready_without_anything,
    ),
    Try(
        Check(
            "watchdog", "a program that is stuck is killed by systemd's watchdog after 20 s and started again",
            "SIGSTOP to the supervisor", LAYER, "the unit has no watchdog",
        ),
        watchdog,
    ),
    Try(
        Check(
            "engine-stopped", "a sound process that hangs is replaced within seconds",
            "SIGSTOP to it", LAYER, "the supervisor, who should replace it, hangs",
        ),
        engine_stopped,
    ),
    Try(
        Check(
            "camera-hangs", "a hung camera is a fault and never a restart of the service",
            "SIGSTOP to the camera's process", LAYER, "the sound's process hangs instead",
        ),
        camera_hangs,
    ),
    Try(
        Check(
            "crash-loop", "after three starts that came to nothing it starts in safe mode, and leaves it by itself",
            "SIGKILL to the program after each start", LAYER, "failed starts are forgotten",
        ),
        crash_loop,
    ),
    Try(
        Check(
            "started-for-ever", "however often it ends, it is started again",
            "SIGKILL to the program, a dozen times in a row", LAYER, "the unit has a limit of starts",
        ),
        started_for_ever,
    ),
    Try(
        Check(
            "power-off", "the button, held, switches the box off, and what was being recorded is kept",
            "the mock pin held down while recording", LAYER, "nobody waits for the wish to power off",
        ),
        button_powers_off,
    ),
)  # fmt: skip
