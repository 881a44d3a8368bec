"""The box's commands: `python -m device COMMAND`."""

from __future__ import annotations

import sys

from device.cli import Command, run

COMMANDS = {
    "run": Command("device.commands.run", "run the box: systemd starts it, and it performs"),
    "perform": Command("device.commands.perform", "play a dance: from a camera or a video to a sound card or a WAV"),
    "capture": Command("device.commands.capture", "record a take: a dance and its music, to learn from"),
    "calibrate": Command(
        "device.commands.calibrate", "look at the room before a show: its noise, its light, how tall dancers are"
    ),
    "check": Command("device.commands.check", "try each part of the box: a verdict, and what to do"),
    "status": Command("device.commands.status", "what the running box says of itself"),
    "stick": Command("device.commands.stick", "copy takes to a USB stick, and install a signed bundle from it"),
    "setup": Command("device.commands.setup", "find the sound card and the camera, write their names down, try both"),
    "config": Command("device.config", "print the configuration that holds"),
    "models": Command("device.commands.models", "list, verify and install bundles"),
    "deploy-shell": Command("device.remote.deploy_shell", "what a key for deployment may do: sshd starts it"),
    "takes": Command("device.commands.takes", "list, verify, salvage and export takes"),
}

if __name__ == "__main__":
    sys.exit(run("device", "What runs on the box.", COMMANDS, sys.argv[1:]))
