"""A report made of small things: takes, a run's folder and a bundle, and `trainer report` on them with a baseline.

`python -m tests.report_page FOLDER` does so in a process of its own: TensorFlow is not imported where tests run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.bundle import MODEL_FILES, Manifest
from device.models.bundles import FACTORY, read_bundle, write_bundle
from device.store.store import Take, TakeWriter, list_takes
from trainer.evaluating.playing import Span

RATE_HZ = 48000
TAKE_S = 14.0
FPS = 50
HELD_OUT = 0.5
HOSTILE = '</title><script>window.hacked = 1</script>"\'><img src=x onerror="window.hacked=1">'
"""A name that would do harm on a page that does not escape it."""
SEGMENT_S = 0.5


@dataclass(frozen=True)
class Late:
    """A baseline: the real sound, as late as a segment is long.

    Attributes
    ----------
    segment_s : float
    """

    segment_s: float = SEGMENT_S

    def play(self, span: Span, temperature: float = 0.0, seed: int = 0) -> npt.NDArray[np.float32]:  # noqa: ARG002 - it draws nothing
        sound = span.sound()
        return np.pad(sound, (round(self.segment_s * span.take.rate_hz), 0))[: len(sound)]


def make_takes(folder: Path, names: tuple[str, ...] = (HOSTILE, "second"), gain: float = 0.3) -> list[Take]:
    """Takes in which a bar of motion goes up and down, and a tone with it."""
    motion = read_bundle(FACTORY).manifest.motion
    times_s = np.arange(int(TAKE_S * FPS)) / FPS
    for seed, name in enumerate(names):
        height = 0.5 + 0.3 * np.sin(1.3 * times_s + seed)
        quantity = np.clip(np.sin(2.1 * times_s + seed), 0.0, 1.0)
        rows = np.exp(-0.5 * ((np.linspace(1, 0, motion.height) - height[:, np.newaxis]) / 0.08) ** 2)
        columns = np.concatenate([rows, np.full((len(times_s), motion.width), 0.3)], axis=1)
        columns = 20.0 * quantity[:, np.newaxis] * columns
        samples_s = np.arange(int(TAKE_S * RATE_HZ)) / RATE_HZ
        phase = 2 * np.pi * np.cumsum(np.interp(samples_s, times_s, 200 + 400 * height)) / RATE_HZ
        sound = gain * np.interp(samples_s, times_s, quantity) * (np.sin(phase) + 0.3 * np.sin(5 * phase))
        writer = TakeWriter(folder, motion, RATE_HZ, {"name": name})
        writer.add_columns(columns.astype(np.float32), times_s)
        writer.add_sound(sound.astype(np.float32), 0.0)
        writer.finish()
    return list_takes(folder)


def make_bundle(folder: Path) -> Manifest:
    """The factory's network, said to be trained on the first halves of takes."""
    found = read_bundle(FACTORY)
    manifest = replace(found.manifest, name="small", figures={"held_out": {"part": HELD_OUT, "takes": {}}})
    write_bundle(folder, manifest, {MODEL_FILES[variant]: data for variant, data in found.models.items()})
    return manifest


def make_run(folder: Path, takes: list[Take], manifest: Manifest) -> None:
    """A run's folder with settings that fit the bundle, and a log in two files: it was cut and gone on with."""
    from trainer.backend import tf
    from trainer.learning.command import run_settings
    from trainer.runs.folder import keep_settings
    from trainer.settings import PRESETS

    settings = run_settings(
        takes, PRESETS["quick"], manifest.segment_s, lead_s=manifest.lead_s, n_latent=manifest.n_latent
    )
    example = replace(settings.example, synth=manifest.synth, grid_rate_hz=manifest.grid_rate_hz)
    keep_settings(folder, takes, replace(settings, example=example, held_out=HELD_OUT))
    for part, steps in enumerate((range(0, 600, 100), range(200, 600, 100))):
        with tf.summary.create_file_writer(str(folder / "tensorboard"), filename_suffix=f".{part}").as_default():
            for step in steps:
                tf.summary.scalar("sound", 1.0 / (1 + step) + part, step=step)
                tf.summary.scalar("held_out/sound", 2.0 / (1 + step), step=step)
                tf.summary.scalar("<b>odd</b>", float("nan") if step == 100 else 5.0, step=step)


def main(folder: Path) -> int:
    """Make all, and run the command with a baseline that stands in for a trained one."""
    from device.cli import run
    from trainer.__main__ import COMMANDS
    from trainer.reporting import command as report

    takes, manifest = make_takes(folder / "takes"), make_bundle(folder / "bundle")
    make_run(folder / "run", takes, manifest)
    report.load_baselines = lambda paths: [Late() for _ in paths]
    words = ["report", "--run", folder / "run", "--bundle", folder / "bundle", "--takes", folder / "takes"]
    words += ["--baseline", folder / "late", "--out", folder / "report.html"]
    return run("trainer", "", COMMANDS, list(map(str, words)))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
