"""What stands where the trainer does: it needs takes, keeps runs, goes on with them, and writes bundles that play.

A folder, for the process that of `STAND_IN`, is what a test steers it by: 'quality' is how well the next bundle
follows, 0 to 1; 'hang' lets a training wait until it is interrupted; 'kill' names the command at which whoever called
it is killed, and it, too; 'asked' is what it was asked.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from device.core.errors import DanceSamplerError, TrainingError
from device.models.bundles import FACTORY, read_bundle, read_manifest, write_bundle
from device.store.store import list_takes
from tests.tone_bundles import read_files

FIGURES = ("loudness_rank_correlation", "loudness_link", "band_rank_correlation", "brightness_rank_correlation")


class StandInTrainer:
    """The commands that `deploy loop` needs.

    Parameters
    ----------
    folder : Path
        By which it is steered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._commands = {
            "train": self._train, "export": self._export, "evaluate": self._evaluate, "report": self._report,
        }  # fmt: skip

    def run(self, *arguments: str) -> str:
        """Do what `python -m trainer ARGUMENTS` does, and give what it prints."""
        command, options = arguments[0], _options(arguments[1:])
        with (self.folder / "asked").open("a") as asked:
            asked.write(json.dumps(arguments) + "\n")
        self._kill_at(command)
        return self._commands[command](options)

    def asked(self, command: str) -> list[dict[str, str]]:
        """Give the options of each call of a command."""
        path = self.folder / "asked"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [_options(line[1:]) for line in lines if line[0] == command]

    def _kill_at(self, command: str) -> None:
        kill = self.folder / "kill"
        if kill.exists() and kill.read_text() == command:
            kill.unlink()
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def _train(self, options: Mapping[str, str]) -> str:
        takes = [take.path.resolve().name for take in list_takes(Path(options["takes"]))]
        if options.get("from", "factory") != "factory" and not Path(options["from"]).is_dir():
            raise TrainingError(f"there is no run at {options['from']}: give another")
        if (self.folder / "quality").read_text() == "none":
            raise TrainingError("the takes hold too little: record more")
        run = Path(options["run"])
        run.mkdir(exist_ok=True)
        n_before = len(list(run.glob("begun-*")))
        (run / f"begun-{n_before}").touch()
        if (self.folder / "hang").exists():
            (self.folder / "hang").unlink()
            signal.pause()
        (run / "run.json").write_text(json.dumps({"takes": takes}))
        return "trained\n"

    def _export(self, options: Mapping[str, str]) -> str:
        if not (Path(options["run"]) / "run.json").exists():
            raise TrainingError(f"the run in {options['run']} is not finished: go on with it")
        manifest, files = read_files(FACTORY)
        figures = {"quality": float((self.folder / "quality").read_text()), "held_out": {"part": 0.2, "takes": {}}}
        version = manifest.version + len(self.asked("export"))
        made = replace(manifest, name=options["name"], version=version, figures=figures)
        write_bundle(Path(options["bundle"]), made, files)
        return "exported\n"

    def _evaluate(self, options: Mapping[str, str]) -> str:
        list_takes(Path(options["takes"]))
        quality = read_bundle(Path(options["bundle"])).manifest.figures.get("quality", 0.9)
        ours = {**dict.fromkeys(FIGURES, quality), "pitch_within_semitone": None, "liveliness": 1.0}
        chance = dict.fromkeys(FIGURES, 0.1)
        return json.dumps({"f16": ours, "int8": ours, "shuffled": chance}) + "\n"

    def _report(self, options: Mapping[str, str]) -> str:
        name = read_manifest(Path(options["bundle"])).name
        Path(options["out"]).write_text(f"<html>{name}</html>")
        return "written\n"


def _options(arguments: tuple[str, ...] | list[str]) -> dict[str, str]:
    parser = argparse.ArgumentParser()
    for name in ("takes", "run", "preset", "from", "bundle", "name", "out", "held-out", "segment-s"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--json", action="store_true")
    found = vars(parser.parse_args(arguments))
    return {name.replace("_", "-"): value for name, value in found.items() if value}


def main() -> int:
    """Run a command as the trainer does."""
    try:
        sys.stdout.write(StandInTrainer(Path(os.environ["STAND_IN"])).run(*sys.argv[1:]))
    except DanceSamplerError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("trainer: interrupted: what is done is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
