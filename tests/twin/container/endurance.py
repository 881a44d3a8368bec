"""From power to sound, two minutes of playing, and what is left in the end."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from tests.media_files import make_sound_file, tone
from tests.twin.container.box import SERVICE, Box
from tests.twin.container.nspawn import own_groups
from tests.twin.container.root import layer
from tests.twin.container.stage import LAYER, MUSIC, Stage, Try
from tests.twin.results import Check, Found

N_BOOTS = 3
BUDGET_S = 20.0
"""For a busy machine; what is measured is said."""
AUDIBLE = 0.001
SOAK_S = 60.0 * float(os.environ.get("TWIN_SOAK_MINUTES", "2"))
PLANTED_SOAK_S = 40.0
LOOK_S = 1.0
SETTLED_S, MARGIN_S = 40.0, 120.0
"""By then the input's ring of half a minute has been filled once, and has all the memory that it will have."""
GROWTH_MB = 3.0
N_LINES = 30
"""Of its log, in two minutes in which nothing happens."""
NEVER = """\
[Unit]
Description=A network, and a clock, that never come
DefaultDependencies=no
Before=network-online.target network.target time-sync.target

[Service]
Type=oneshot
ExecStart=/bin/sleep infinity
"""
LEAK = """\
import threading

kept, stop = [], threading.Event()


def leak():
    while not stop.wait(0.5):
        kept.append((bytearray(500_000), open("/dev/null")))


threading.Thread(target=leak, daemon=True).start()
"""


def boot(stage: Stage, planted: bool) -> Found:
    """Switched on where neither a network nor the time ever comes, it is heard all the same."""
    stages: list[dict[str, float]] = []
    for _ in range(N_BOOTS):
        with stage.box("trixie", boots=False) as box:
            if planted:
                box.drop_in("[Unit]\nWants=network-online.target\nAfter=network-online.target\n")
            _add_what_never_comes(box.container.root)
            box.container.boot(waits=False)
            box.container.eventually(lambda: _first_sound_s(box) > 0.0, "it is heard", BUDGET_S)
            assert box.ask("systemctl", "is-active", "network-online.target")[0] != 0, "there was a network"
            stages.append(_stages(box))
    reached = {name: [each[name] for each in stages] for name in stages[0]}
    said = ", ".join(f"{name} {min(at_s):.1f} to {max(at_s):.1f}" for name, at_s in reached.items())
    return Found(f"s after systemd began: {said}; the network never came", N_BOOTS)


@dataclass(frozen=True)
class Look:
    """At all of the box's processes.

    Attributes
    ----------
    at_s : float
        Since the first.
    own_mb : float
        Memory without that of files.
    n_descriptors, n_threads : int
    """

    at_s: float
    own_mb: float
    n_descriptors: int
    n_threads: int


def soak(stage: Stage, planted: bool) -> str:
    """It plays, and nobody does anything: nothing grows."""
    with stage.box(boots=False) as box:
        # An input that ends is opened anew, by another process.
        music = tone(SOAK_S + MARGIN_S, 48_000, 440.0, level=0.25)
        make_sound_file(box.container.root / MUSIC.lstrip("/"), music, 48_000)
        if planted:
            (box.container.root / "srv/leak").mkdir()
            (box.container.root / "srv/leak/sitecustomize.py").write_text(LEAK)
            box.drop_in("[Service]\nEnvironment=PYTHONPATH=/srv/leak\n")
        box.container.boot()
        first = box.plays()
        box.container.eventually(
            lambda: box.status().get("uptime_s", 0.0) > SETTLED_S, "it has settled", 2.0 * SETTLED_S
        )
        n_lines = _n_lines(box)
        looks = _looks(box, PLANTED_SOAK_S if planted else SOAK_S)
        assert first["pids"] == box.plays()["pids"], "processes were replaced"
        tenth = max(1, len(looks) // 10)
        before, after = _median(looks[:tenth]), _median(looks[-tenth:])
        grown_mb = after.own_mb - before.own_mb
        assert grown_mb < GROWTH_MB, f"memory has grown by {grown_mb:.1f} MB"
        handles = f"{before.n_descriptors} then {after.n_descriptors} descriptors"
        threads = f"{before.n_threads} then {after.n_threads} threads"
        assert after.n_descriptors <= before.n_descriptors, handles
        assert after.n_threads <= before.n_threads, threads
        n_said = _n_lines(box) - n_lines
        assert n_said < N_LINES * max(1.0, SOAK_S / 120.0), f"{n_said} lines of log"
        memory = f"{before.own_mb:.1f} then {after.own_mb:.1f} MB without files"
        return f"{looks[-1].at_s:.0f} s: {memory}, {handles}, {threads}, {n_said} lines of log"


def leftovers(stage: Stage, planted: bool) -> str:
    """What is there of all the containers of this run: no mount, no process, no control group."""
    if planted:
        log = stage.work.folder / "log"
        stage.work.start("tail", "--follow", log, log=log)
        layer(stage.work, "forgotten", stage.work.cache)
    left = [*stage.work.leftovers(), *map(str, own_groups())]
    assert not left, f"left behind: {', '.join(left)}"
    return "no mount, process, loop device or control group"


def _add_what_never_comes(root: Path) -> None:
    units = root / "etc/systemd/system"
    (units / "never.service").write_text(NEVER)
    for target in ("multi-user", "network-online", "time-sync"):
        (units / f"{target}.target.wants").mkdir(exist_ok=True)
        (units / f"{target}.target.wants/never.service").symlink_to("../never.service")


def _first_sound_s(box: Box) -> float:
    """When the first 10 ms were heard that are not silence, CLOCK_MONOTONIC; 0: not yet."""
    return next((at_s for at_s, level in box.levels() if level > AUDIBLE), 0.0)


def _stages(box: Box) -> dict[str, float]:
    """Give what was reached when, in seconds since systemd began."""
    begun_s = int(box.run("systemctl", "show", "--value", "-p", "UserspaceTimestampMonotonic").strip()) / 1e6
    reached = {
        "disks": int(box.property("ActiveEnterTimestampMonotonic", "local-fs.target")) / 1e6,
        "the program's start": int(box.property("ExecMainStartTimestampMonotonic")) / 1e6,
        "ready": int(box.property("ActiveEnterTimestampMonotonic", SERVICE)) / 1e6,
        "the first sound": _first_sound_s(box),
    }
    return {name: at_s - begun_s for name, at_s in reached.items()}


def _looks(box: Box, seconds: float) -> list[Look]:
    """Look every second, for so long."""
    found: list[Look] = []
    begun_s = box.status()["uptime_s"]

    def is_due() -> bool:
        at_s = box.status()["uptime_s"] - begun_s
        if at_s >= LOOK_S * len(found):
            found.append(_look(box, at_s))
        return bool(at_s >= seconds)

    try:
        box.container.eventually(is_due, f"it has played for {seconds:.0f} s", 2.0 * seconds)
    except (FileNotFoundError, ProcessLookupError, KeyError) as error:
        raise AssertionError(f"a process has ended: {box.journal(5)}") from error
    return found


def _look(box: Box, at_s: float) -> Look:
    own_kb = n_descriptors = n_threads = 0
    for pid in {*box.status()["pids"].values(), box.pid()}:
        folder = box.inside(f"/proc/{pid}")
        for line in (folder / "smaps_rollup").read_text().splitlines():
            own_kb += int(line.split()[1]) if line.startswith(("Pss_Anon", "Pss_Shmem")) else 0
        n_descriptors += len(list((folder / "fd").iterdir()))
        n_threads += len(list((folder / "task").iterdir()))
    return Look(at_s, own_kb / 1000.0, n_descriptors, n_threads)


def _median(looks: list[Look]) -> Look:
    return Look(
        statistics.median(each.at_s for each in looks),
        statistics.median(each.own_mb for each in looks),
        round(statistics.median(each.n_descriptors for each in looks)),
        round(statistics.median(each.n_threads for each in looks)),
    )


def _n_lines(box: Box) -> int:
    return len(box.run("journalctl", "-q", "-u", SERVICE, "-b", "-o", "cat").splitlines())


TRIES = (
    Try(
        Check(
            "boot", "it performs by itself after power came, and waits for no network and no clock",
            "booted where neither ever comes", LAYER, "the service is ordered after the network",
        ),
        boot,
    ),
    Try(
        Check(
            "soak", "whatever it plays for long, memory, descriptors and threads stay the same, and the log small",
            "two minutes of playing, a look each second (TWIN_SOAK_MINUTES: more)", LAYER,
            "the program keeps memory and open files",
        ),
        soak,
    ),
    Try(
        Check(
            "no-leftovers", "the twin leaves nothing on the machine that it runs on",
            "mounts, processes, loop devices and control groups after all containers have ended", LAYER,
            "a process and a mount are forgotten",
        ),
        leftovers,
    ),
)  # fmt: skip
