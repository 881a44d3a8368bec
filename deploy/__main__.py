"""The workstation's commands for boxes: `python -m deploy COMMAND`."""

from __future__ import annotations

import sys

from device.cli import Command, run

COMMANDS = {
    "keygen": Command("deploy.keygen", "make keys, and let a box know them: once for each box"),
    "push": Command("deploy.push", "send a bundle to a box, which tries it and keeps it if all stays well"),
    "pull": Command("deploy.pull", "bring new takes home from a box"),
    "status": Command("deploy.status", "what boxes are doing, a line each"),
    "loop": Command("deploy.loop.command", "the round trip: pull new takes, train on them, push what is no worse"),
    "rollback": Command("deploy.rollback", "let a box play its last good model"),
    "log": Command("deploy.log", "print the last lines of a box's log"),
    "fleet": Command("deploy.fleet.command", "many boxes at once: push in waves, status, pull, install"),
}

if __name__ == "__main__":
    sys.exit(run("deploy", "From the workstation to boxes, over SSH.", COMMANDS, sys.argv[1:]))
