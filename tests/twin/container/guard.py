"""What the service may do, who owns what, and how much of the disk its log takes: seen from inside a running system."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.twin.container.box import NAME, PYTHON, SERVICE, STATE, Box
from tests.twin.container.probe import ATTEMPTS
from tests.twin.container.stage import LAYER, Stage, Try
from tests.twin.results import Check, Found

PROBE = Path(__file__).with_name("probe.py")
JOURNAL_MB = 64
"""As in systemd/journald.conf; of a file that is being written some more may be there."""
LOUD_MB = 100
FLOOD = f"{PYTHON} -c 'for n in range(5000): print(\"a fault that repeats itself\", n)'"
BURST, MOST_BURSTS = 200, 6
"""The unit's LogRateLimitBurst; where there is much room on the disk, the journal keeps up to so many times as much."""


def sandbox(stage: Stage, planted: bool) -> Found:
    """In the place of the program, and by its own unit, a probe tries what it does not need."""
    with stage.box() as box:
        if planted:
            box.drop_in("[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET\nProtectHome=no\n")
        box.plays()
        live = _live_limits(box)
        assert live == {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16, "CapBnd": "0" * 16}, live
        shutil.copy(PROBE, box.container.root / "srv/probe.py")
        said = json.loads(_in_its_place(box, f"{PYTHON} /srv/probe.py").splitlines()[-1])
        assert said["could"] == [], f"the service could {', '.join(said['could'])}"
        assert said["missing"] == {}, f"the service could not {said['missing']}"
        assert said["uid"] != 0, "it runs as root"
        return Found(f"{len(ATTEMPTS)} things that it does not need, all refused; the three that it needs work")


def owners(stage: Stage, planted: bool) -> str:
    """Who owns what, and what the service's user could write: nothing but the state."""
    with stage.box() as box:
        if planted:
            box.run("chown", "-R", NAME, f"/opt/{NAME}/current/device")
        box.plays()
        # What everybody may write, as /tmp, is not meant; what its user may not look into is nothing to write either.
        look = f"find / -xdev -writable -not -type l -not -perm -o=w -not -path '{STATE}*' 2>/dev/null || true"
        writable = box.run("runuser", "-u", NAME, "--", "sh", "-c", look).split()
        assert not writable, f"its user could write {writable[:3]}"
        state = box.run("stat", "-c", "%U:%G %a", STATE).strip()
        assert state == f"{NAME}:{NAME} 750", state
        account = box.run("getent", "passwd", NAME).strip().split(":")
        assert account[6] == "/usr/sbin/nologin", account
        assert box.run("getent", "shadow", NAME).split(":")[1][0] in "!*", "its user has a password"
        groups = set(box.run("id", "-nG", NAME).split())
        assert groups == {NAME, "systemd-journal"}, groups
        return "its user has no password, no shell, and nothing to write but its state (750)"


def journal_bound(stage: Stage, planted: bool) -> str:
    """A service that says the same for ever is cut short, and the journal stays below its bound."""
    with stage.box() as box:
        if planted:
            box.run("rm", f"/etc/systemd/journald.conf.d/60-{NAME}.conf")
            box.run("systemctl", "restart", "systemd-journald")
        said = _in_its_place(box, FLOOD)
        n_kept = said.count("a fault that repeats itself")
        assert n_kept <= MOST_BURSTS * BURST, f"{n_kept} of 5000 lines were kept"
        # Another service that is loud, in lines that cannot be compressed.
        box.run("sh", "-c", f"head -c {LOUD_MB}000000 /dev/urandom | base64 -w 30000 | systemd-cat", timeout_s=120.0)
        box.run("journalctl", "--sync")
        size_mb = int(box.run("du", "-s", "--block-size=1000000", "/var/log/journal").split()[0])
        assert size_mb <= 1.2 * JOURNAL_MB, f"the journal has {size_mb} MB"
        return f"{n_kept} of 5000 equal lines kept; after {LOUD_MB * 4 // 3} MB of log the journal has {size_mb} MB"


def _live_limits(box: Box) -> dict[str, str]:
    """What the kernel holds the running program to."""
    status = box.run("cat", f"/proc/{box.pid()}/status")
    return dict(re.findall(r"^(NoNewPrivs|Seccomp|CapEff|CapBnd):\s+(\w+)$", status, re.MULTILINE))


def _in_its_place(box: Box, command: str) -> str:
    """Run a command by the service's own unit, in the place of its program, and give what it wrote to the journal."""
    box.run("systemctl", "stop", SERVICE)
    unit = box.run("systemctl", "cat", SERVICE)
    lines = [line for line in unit.splitlines() if not line.startswith(("Restart=", "WatchdogSec=", "ExecStart="))]
    probe = "\n".join(lines).replace("Type=notify", f"Type=oneshot\nExecStart={command}") + "\n"
    (box.container.root / "etc/systemd/system/probe.service").write_text(probe)
    box.run("systemctl", "daemon-reload")
    returncode, said = box.ask("systemctl", "start", "probe.service")
    box.run("journalctl", "--sync")
    written = box.run("journalctl", "-u", "probe.service", "-o", "cat", f"--identifier={NAME}")
    assert returncode == 0, f"the probe failed: {said} {written[-300:]}"
    return written


TRIES = (
    Try(
        Check(
            "sandbox", "the service has no network, no capability, sees no home folder and writes its state only",
            "a probe started by its unit, in the place of the program; the running program's limits in /proc", LAYER,
            "a drop-in that allows network and home folders",
        ),
        sandbox,
    ),
    Try(
        Check(
            "owners", "the service's user can change nothing but takes, models and what it learned of the room",
            "every file of the running system looked at as that user", LAYER,
            "the program belongs to the service's user",
        ),
        owners,
    ),
    Try(
        Check(
            "journal", "the log fills no card: a fault that repeats itself is cut short, the journal has at most 64 MB",
            "5000 equal lines by the service's unit; 133 MB of log by another", LAYER,
            "the journal's bound is not installed",
        ),
        journal_bound,
    ),
)  # fmt: skip
