"""What every section is given: what is performed, how long to measure, and the bundle and the dance, loaded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.config import DEFAULT_PATH, Config, load_config
from device.edges.model_tflite import preload
from device.models.bundles import FACTORY, Bundle, load_bundle
from tests.bench.parts import Dance, load_dance

CLIP = FACTORY.parent / "dance.mp4"
ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Show:
    """What is performed: a bundle and a clip."""

    bundle: Path
    clip: Path


@dataclass(frozen=True)
class Effort:
    """How long each part is measured, and how far growth is followed.

    Attributes
    ----------
    n_frames, n_model_runs, n_chain_runs, n_starts : int
    synth_s, real_clock_s : float
    n_growth_frames, n_growth_runs : int
        Frames of each size, and runs of each model, whose growth is measured.
    sizes : tuple of (width, height)
        Of frames, pixels; the first is the default.
    rates_fps : tuple of float
    segments_s : tuple of float
        Lengths of the window.
    latents : tuple of int
    peer_s : float
        Sound that each peer makes for a figure.
    takes_s : float
        Takes that a bundle is trained from.
    n_changes : int
        Of the scene, for the latency of each kind.
    layout_s : float
        Of each run in which processes and threads are compared.
    scale_hours : tuple of float
        Of takes that are trained on, from least to most.
    scale_steps : int
        Of each epoch of those trainings.
    scale_rounds : int
        In which each length has its turn: a machine's own speed comes and goes.
    workers : tuple of int
        That train together.
    target_dances : tuple of str
        That are filmed for the time to a figure; none: all.
    target_minutes : tuple of float
        That are given to trainings, from least to most, until one reaches its figure.
    """

    n_frames: int = 2000
    n_model_runs: int = 3000
    synth_s: float = 20.0
    n_chain_runs: int = 3
    n_starts: int = 5
    real_clock_s: float = 8.0
    n_growth_frames: int = 250
    n_growth_runs: int = 1500
    sizes: tuple[tuple[int, int], ...] = ((64, 48), (128, 96), (160, 120), (320, 240), (640, 480))
    rates_fps: tuple[float, ...] = (25.0, 30.0, 50.0, 60.0, 120.0)
    segments_s: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    latents: tuple[int, ...] = (8, 16, 32, 64)
    peer_s: float = 20.0
    takes_s: float = 600.0
    n_changes: int = 200
    layout_s: float = 3.0
    scale_hours: tuple[float, ...] = (1 / 6, 1.0, 10.0)
    scale_steps: int = 200
    scale_rounds: int = 4
    workers: tuple[int, ...] = (1, 2)
    target_dances: tuple[str, ...] = ()
    target_minutes: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Bench:
    """What a section measures with.

    Attributes
    ----------
    show : Show
    effort : Effort
    config : Config
        The default one, whatever that of the machine.
    bundle : Bundle
        That of the show, loaded as the configuration says.
    dance : Dance
        The clip, decoded and gone through once.
    say : callable
        Told what is being measured, for the terminal.
    """

    show: Show
    effort: Effort
    config: Config
    bundle: Bundle
    dance: Dance
    say: Callable[[str], None]


def open_bench(show: Show, effort: Effort, say: Callable[[str], None] = lambda _: None) -> Bench:
    """Load what the sections need."""
    preload()
    config = load_config(DEFAULT_PATH)
    bundle = load_bundle(show.bundle, config.model.variant, config.model.runtime)
    return Bench(show, effort, config, bundle, load_dance(show.clip, bundle, effort.n_frames), say)
