"""The workstation's commands: `python -m trainer COMMAND`."""

from __future__ import annotations

import sys

from device.cli import Command, run

COMMANDS = {
    "import": Command("trainer.importing.command", "make takes from videos with sound"),
    "prepare": Command("trainer.data.prepare", "list the segments of takes, training and held-out"),
    "check": Command("trainer.checking.command", "look for takes that are silent, clipped, still, covered or shifted"),
    "train": Command("trainer.learning.command", "train a model on takes"),
    "tune": Command("trainer.tuning.command", "search the settings that sound best within what a box can compute"),
    "runs": Command("trainer.runs.command", "list runs with their figures, or set some side by side"),
    "baseline": Command("trainer.baseline.command", "train the original's way on takes, to set it beside ours"),
    "evaluate": Command("trainer.evaluating.command", "play held-out takes and print how well sound follows motion"),
    "export": Command("trainer.exporting.export", "write a trained model as a bundle"),
    "report": Command("trainer.reporting.command", "write one HTML page about a run or a bundle, with its sounds"),
    "factory": Command("trainer.filming.factory", "make anew the bundle and the clip that come with the box"),
}

if __name__ == "__main__":
    sys.exit(run("trainer", "What runs on the workstation.", COMMANDS, sys.argv[1:]))
